package main

import (
	"context"
	"encoding/json"

	"github.com/openai/openai-go/v2"
	"github.com/openai/openai-go/v2/packages/param"
	"github.com/openai/openai-go/v2/responses"

	"turntree/openaiagents"
	"turntree/turntreepb"
)

type item = responses.ResponseInputItemUnionParam

// agent answers with the help of its tools, and remembers the conversation in its memory.
type agent struct {
	model  openai.Client
	memory *openaiagents.Session
	tools  []tool
}

type tool struct {
	responses.FunctionToolParam
	run func(arguments []byte) (string, error)
}

// ask lets the agent answer, and gives what that took. What was said and called is remembered whole or not at all.
func (a *agent) ask(ctx context.Context, question string) (*turntreepb.Usage, error) {
	history, err := a.memory.GetItems(ctx, 0)
	if err != nil {
		return nil, err
	}
	said := []item{responses.ResponseInputItemParamOfMessage(question, responses.EasyInputMessageRoleUser)}
	usage := &turntreepb.Usage{}
	for {
		response, err := a.model.Responses.New(ctx, a.request(append(history[:len(history):len(history)], said...)))
		if err != nil {
			return nil, err
		}
		usage.Requests++
		usage.InputTokens += response.Usage.InputTokens
		usage.OutputTokens += response.Usage.OutputTokens
		usage.TotalTokens += response.Usage.TotalTokens
		var outputs []item
		for _, output := range response.Output {
			said = append(said, param.Override[item](json.RawMessage(output.RawJSON())))
			if output.Type == "function_call" {
				outputs = append(outputs, a.call(output.AsFunctionCall()))
			}
		}
		if len(outputs) == 0 {
			return usage, a.memory.AddItems(ctx, said)
		}
		said = append(said, outputs...)
	}
}

func (a *agent) request(input []item) responses.ResponseNewParams {
	request := responses.ResponseNewParams{
		Model: "scripted",
		Input: responses.ResponseNewParamsInputUnion{OfInputItemList: input},
	}
	for _, tool := range a.tools {
		request.Tools = append(request.Tools, responses.ToolUnionParam{OfFunction: &tool.FunctionToolParam})
	}
	return request
}

// call gives a tool's output; the model is told when there is none.
func (a *agent) call(call responses.ResponseFunctionToolCall) item {
	output := "There is no such tool."
	for _, tool := range a.tools {
		if tool.Name != call.Name {
			continue
		}
		var err error
		if output, err = tool.run([]byte(call.Arguments)); err != nil {
			output = err.Error()
		}
	}
	return responses.ResponseInputItemParamOfFunctionCallOutput(call.CallID, output)
}
