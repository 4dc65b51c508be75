// Continue lets an agent on openai-go take over a conversation that an agent in another language began.
//
//	continue URL SESSION_ID
//
// What it does and prints is in tests/conformance/README.md. The loop of the agent is its own; the SDK's runner is not
// used.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	"github.com/openai/openai-go/v2"
	"github.com/openai/openai-go/v2/responses"

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
	agent := &agent{model.client(), memory, []tool{findHotel()}}

	history, err := memory.GetItems(ctx, 0)
	if err != nil {
		return nil, err
	}
	main, err := session.SwitchTo(ctx, turntree.Main)
	if err != nil {
		return nil, err
	}
	if err := run(ctx, session, agent, "Find me a hotel."); err != nil {
		return nil, err
	}
	if _, err := session.CreateBranch(ctx, turntree.BeforeTurn(main.TurnCount+1), language); err != nil {
		return nil, err
	}
	if err := run(ctx, session, agent, "What if it rains?"); err != nil {
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

// run lets the agent answer, and records what that took.
func run(ctx context.Context, session *turntree.Session, agent *agent, question string) error {
	usage, err := agent.ask(ctx, question)
	if err != nil {
		return err
	}
	_, err = session.RecordUsage(ctx, usage)
	return err
}

func findHotel() tool {
	function := responses.FunctionToolParam{
		Name:        "find_hotel",
		Description: openai.String("Find a hotel."),
		Parameters: map[string]any{
			"type":                 "object",
			"properties":           map[string]any{"city": map[string]any{"type": "string"}},
			"required":             []string{"city"},
			"additionalProperties": false,
		},
		Strict: openai.Bool(true),
	}
	return tool{function, func(arguments []byte) (string, error) {
		var asked struct{ City string }
		err := json.Unmarshal(arguments, &asked)
		return "Hotel Tejo in " + asked.City, err
	}}
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
