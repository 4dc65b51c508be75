package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/nlpodyssey/openai-agents-go/agents"
	"github.com/openai/openai-go/v2/option"
	"github.com/openai/openai-go/v2/packages/param"
)

// scriptedModel is a server with the Responses API, whose model says what it is told to say.
type scriptedModel struct {
	*httptest.Server
	script [][]any             // the output of each answer to come
	saw    [][]json.RawMessage // the input of each request
}

func newScriptedModel(script ...[]any) *scriptedModel {
	model := &scriptedModel{script: script}
	routes := http.NewServeMux()
	routes.HandleFunc("POST /responses", model.respond)
	model.Server = httptest.NewServer(routes)
	return model
}

func (m *scriptedModel) client() agents.OpenaiClient {
	return agents.NewOpenaiClient(param.NewOpt(m.URL), param.NewOpt("none"), option.WithMaxRetries(0))
}

func (m *scriptedModel) respond(writer http.ResponseWriter, request *http.Request) {
	var asked struct{ Input []json.RawMessage }
	if err := json.NewDecoder(request.Body).Decode(&asked); err != nil {
		http.Error(writer, err.Error(), http.StatusBadRequest)
		return
	}
	m.saw = append(m.saw, asked.Input)
	number := len(m.saw)
	if number > len(m.script) {
		http.Error(writer, "the script is at its end", http.StatusBadRequest)
		return
	}
	writer.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(writer).Encode(object{
		"id": fmt.Sprint("response ", number), "object": "response", "created_at": 0, "status": "completed",
		"model": "scripted", "output": m.script[number-1],
		"usage": object{
			"input_tokens": 10, "input_tokens_details": object{"cached_tokens": 4},
			"output_tokens": 5, "output_tokens_details": object{"reasoning_tokens": 2},
			"total_tokens": 15,
		},
	})
}

type object map[string]any

// says is what the assistant says.
func says(text string) object {
	content := object{"type": "output_text", "text": text, "annotations": []any{}, "logprobs": []any{}}
	return object{
		"type": "message", "id": "message of " + text, "role": "assistant", "status": "completed", "content": []any{content},
	}
}

// calls is a call of a tool.
func calls(name, callID, arguments string) object {
	return object{
		"type": "function_call", "id": "item of " + callID, "call_id": callID, "name": name, "status": "completed",
		"arguments": arguments,
	}
}
