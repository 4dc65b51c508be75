// Continue lets an agent of openai-agents-go take over a conversation that an agent in another language began.
//
//	continue URL SESSION_ID
//
// What it does and prints is in tests/conformance/README.md.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	"github.com/nlpodyssey/openai-agents-go/agents"
	"github.com/nlpodyssey/openai-agents-go/usage"

	"turntree"
	"turntree/openaiagents"
	"turntree/turntreepb"
)

const language = "go"

// seen is what the program tells of the conversation.
type seen struct {
	Found    int        `json:"found"`
	ModelSaw []int      `json:"model_saw"`
	Tools    [][]any    `json:"tools"`
	Usage    [][2]int64 `json:"usage"`
}

func main() {
	if len(os.Args) != 3 {
		fail("usage: continue URL SESSION_ID")
	}
	seen, err := takeOver(context.Background(), os.Args[1], os.Args[2])
	if err != nil {
		fail(err)
	}
	if err := json.NewEncoder(os.Stdout).Encode(seen); err != nil {
		fail(err)
	}
}

func fail(why any) {
	fmt.Fprintln(os.Stderr, why)
	os.Exit(1)
}

func takeOver(ctx context.Context, url, sessionID string) (*seen, error) {
	client, err := turntree.New(url)
	if err != nil {
		return nil, err
	}
	defer func() { _ = client.Close() }()
	session := client.Session(sessionID)
	memory := openaiagents.New(session)
	model := newScriptedModel(
		[]any{calls("find_hotel", "call of "+language, `{"city":"Lisbon"}`)},
		[]any{says("Take the Hotel Tejo 🌳")},
		[]any{says("Then stay at home.")},
	)
	defer model.Close()
	agent := agents.New("Concierge in Go").
		WithModelInstance(agents.NewOpenAIResponsesModel("scripted", model.client())).
		WithTools(agents.NewFunctionTool("find_hotel", "Find a hotel.", findHotel))
	runner := agents.Runner{Config: agents.RunConfig{Session: memory, TracingDisabled: true}}
	ask := func(question string) error {
		result, err := runner.Run(ctx, agent, question)
		if err != nil {
			return err
		}
		_, err = session.RecordUsage(ctx, usageOf(result))
		return err
	}

	history, err := memory.GetItems(ctx, 0)
	if err != nil {
		return nil, err
	}
	main, err := session.SwitchTo(ctx, turntree.Main)
	if err != nil {
		return nil, err
	}
	if err := ask("Find me a hotel."); err != nil {
		return nil, err
	}
	if _, err := session.CreateBranch(ctx, turntree.BeforeTurn(main.TurnCount+1), language); err != nil {
		return nil, err
	}
	if err := ask("What if it rains?"); err != nil {
		return nil, err
	}

	seen := &seen{Found: len(history)}
	for _, input := range model.saw {
		seen.ModelSaw = append(seen.ModelSaw, len(input))
	}
	if seen.Tools, err = toolUsage(ctx, client, sessionID); err != nil {
		return nil, err
	}
	seen.Usage, err = turnUsage(ctx, client, sessionID)
	return seen, err
}

// usageOf is what a run took, over all its requests.
func usageOf(result *agents.RunResult) *turntreepb.Usage {
	total := usage.NewUsage()
	for _, response := range result.RawResponses {
		total.Add(response.Usage)
	}
	return &turntreepb.Usage{
		Requests:     int64(total.Requests),
		InputTokens:  int64(total.InputTokens),
		OutputTokens: int64(total.OutputTokens),
		TotalTokens:  int64(total.TotalTokens),
	}
}

type hotelArguments struct {
	City string `json:"city"`
}

func findHotel(_ context.Context, asked hotelArguments) (string, error) {
	return "Hotel Tejo in " + asked.City, nil
}

// toolUsage is how often each turn of main called which tool.
func toolUsage(ctx context.Context, client *turntree.Client, sessionID string) ([][]any, error) {
	var counts [][]any
	request := &turntreepb.ListToolUsageRequest{SessionId: sessionID}
	for page, err := range turntree.Pages(ctx, client.ListToolUsage, request) {
		if err != nil {
			return nil, err
		}
		tools := page.Tools
		for row, index := range tools.ToolIndexes {
			var name any
			if index >= 0 {
				name = tools.ToolNames[index]
			}
			counts = append(counts, []any{name, tools.CallCounts[row], tools.Turns[row]})
		}
	}
	return counts, nil
}

// turnUsage is how many tokens each turn of main took.
func turnUsage(ctx context.Context, client *turntree.Client, sessionID string) ([][2]int64, error) {
	var tokens [][2]int64
	request := &turntreepb.ListTurnUsageRequest{SessionId: sessionID}
	for page, err := range turntree.Pages(ctx, client.ListTurnUsage, request) {
		if err != nil {
			return nil, err
		}
		for _, turn := range page.Turns {
			tokens = append(tokens, [2]int64{turn.Turn, turn.Usage.TotalTokens})
		}
	}
	return tokens, nil
}
