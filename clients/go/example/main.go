// Example stores a conversation, branches it, streams it and accounts for it.
//
// With a server at localhost:50051: go run ./example; or name its address.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"os"

	"turntree"
	"turntree/turntreepb"
)

func main() {
	url := "localhost:50051"
	if len(os.Args) > 1 {
		url = os.Args[1]
	}
	if err := run(context.Background(), url, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, url string, out io.Writer) error {
	client, err := turntree.New(url)
	if err != nil {
		return err
	}
	defer func() { _ = client.Close() }()
	session := client.Session("go example")
	if err := converse(ctx, client, session, out); err != nil {
		return err
	}
	_, err = client.DeleteSession(ctx, &turntreepb.DeleteSessionRequest{SessionId: session.ID()})
	return err
}

// converse tells the whole story, from top to bottom.
func converse(ctx context.Context, client *turntree.Client, session *turntree.Session, out io.Writer) error {
	// Another part of the program follows the conversation while it happens.
	next, stop := iter.Pull2(session.Watch(ctx))
	defer stop()
	observe := func() error {
		change, err, _ := next()
		if err == nil {
			_, err = fmt.Fprintf(out, "watched %s %d items\n", change.Delta.Kind, len(change.Delta.Items))
		}
		return err
	}
	if err := observe(); err != nil {
		return err
	}
	for _, said := range []struct {
		question, answer string
		tokens           int64
	}{
		{"Which city has the Golden Gate Bridge?", "San Francisco.", 56},
		{"Which state is it in?", "California.", 81},
	} {
		if err := say(ctx, session, said.question, said.answer, said.tokens); err != nil {
			return err
		}
		if err := observe(); err != nil {
			return err
		}
	}

	// What if? A branch before turn 2 goes another way; main stays as it is.
	if _, err := session.CreateBranch(ctx, turntree.BeforeTurn(2), "shorter"); err != nil {
		return err
	}
	if err := say(ctx, session, "Say it in two letters.", "SF", 70); err != nil {
		return err
	}
	for _, branch := range []string{turntree.Main, "shorter"} {
		if _, err := session.SwitchTo(ctx, branch); err != nil {
			return err
		}
		if err := show(ctx, client, session, out); err != nil {
			return err
		}
	}

	usage, err := client.GetSessionUsage(ctx, &turntreepb.GetSessionUsageRequest{SessionId: session.ID()})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "all branches: %d requests, %d tokens\n", usage.Total.Requests, usage.Total.TotalTokens)
	return err
}

// say stores a question with its answer, as an agent would after a run, and what it cost.
func say(ctx context.Context, session *turntree.Session, question, answer string, tokens int64) error {
	var items [][]byte
	for _, message := range []struct {
		Role    string `json:"role"`
		Content string `json:"content"`
	}{{"user", question}, {"assistant", answer}} {
		item, err := json.Marshal(message)
		if err != nil {
			return err
		}
		items = append(items, item)
	}
	if _, err := session.AddItems(ctx, items...); err != nil {
		return err
	}
	_, err := session.RecordUsage(ctx, &turntreepb.Usage{Requests: 1, TotalTokens: tokens})
	return err
}

// show lists the turns of the current branch, with what they cost as far as it is recorded there.
func show(ctx context.Context, client *turntree.Client, session *turntree.Session, out io.Writer) error {
	tokens := map[int64]int64{}
	request := &turntreepb.ListTurnUsageRequest{SessionId: session.ID(), Branch: session.Branch()}
	for page, err := range turntree.Pages(ctx, client.ListTurnUsage, request) {
		if err != nil {
			return err
		}
		for _, turn := range page.Turns {
			tokens[turn.Turn] = turn.Usage.TotalTokens
		}
	}
	for part, err := range session.StreamTurns(ctx) {
		if err != nil {
			return err
		}
		for _, turn := range part.Turns {
			var question struct{ Content string }
			if err := json.Unmarshal(turn.UserItem, &question); err != nil {
				return err
			}
			branch := session.Branch().BranchId
			fmt.Fprintf(out, "%-8s  turn %d  %s  %d tokens\n", branch, turn.Turn, question.Content, tokens[turn.Turn])
		}
	}
	return nil
}
