package openaiagents

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"testing"

	"github.com/openai/openai-go/v2"
	"github.com/openai/openai-go/v2/option"
	"github.com/openai/openai-go/v2/responses"

	"turntree"
	"turntree/internal/testserver"
)

type item = responses.ResponseInputItemUnionParam

func serving(t *testing.T) (*Session, *turntree.Session) {
	t.Helper()
	client, err := turntree.New(testserver.Start(t).Address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	session := client.Session("chat_1")
	return New(session), session
}

func read(t *testing.T, memory *Session, limit int) []item {
	t.Helper()
	items, err := memory.GetItems(t.Context(), limit)
	if err != nil {
		t.Fatal(err)
	}
	return items
}

// Items of every kind come back with every key and digit, in the types of openai-go where those hold them.
func TestItems(t *testing.T) {
	memory, session := serving(t)
	for text, isTyped := range map[string]bool{
		`{"role":"user","content":"Grüße, 東京 🏔️ <b>"}`:                                                                                            true,
		`{"type":"message","role":"user","content":[{"type":"input_text","text":"look"},{"type":"input_image","image_url":"x","detail":"auto"}]}`: true,
		`{"type":"message","id":"msg_1","status":"completed","role":"assistant","content":[{"type":"output_text","text":"hi","annotations":[]}]}`: true,
		`{"type":"function_call","id":"fc_1","call_id":"c","name":"f","arguments":"{\"n\": 1}","status":"completed"}`:                             true,
		`{"type":"function_call_output","call_id":"c","output":"4"}`:                                                                              true,
		`{"type":"reasoning","id":"rs_1","summary":[{"type":"summary_text","text":"hm"}],"encrypted_content":"c2VjcmV0"}`:                         true,
		`{"role":"user","content":"x","provider_data":{"n":123456789012345678901234567890,"f":1.10}}`:                                             false,
		`{"type":"of_tomorrow","value":9007199254740993}`:                                                                                         false,
	} {
		if _, err := session.AddItems(t.Context(), []byte(text)); err != nil {
			t.Fatal(err)
		}
		popped, err := memory.PopItem(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if !holds(popped, []byte(text)) {
			t.Errorf("%s became %v", text, popped)
		}
		if (popped.GetType() != nil) != isTyped {
			t.Errorf("%s is typed: %v", text, !isTyped)
		}
		if err := memory.AddItems(t.Context(), []item{*popped}); err != nil {
			t.Fatal(err)
		}
		stored, err := session.PopItem(t.Context())
		if err != nil || !reflect.DeepEqual(meaning(stored), meaning([]byte(text))) {
			t.Errorf("%s became %s, %v", text, stored, err)
		}
	}
}

// A limit gives the newest items in order, never an output without its call; 0 and less give all; a clear leaves none.
func TestLimits(t *testing.T) {
	memory, _ := serving(t)
	items := []item{
		responses.ResponseInputItemParamOfMessage("one", responses.EasyInputMessageRoleUser),
		responses.ResponseInputItemParamOfFunctionCall("{}", "c", "f"),
		responses.ResponseInputItemParamOfFunctionCallOutput("c", "1"),
		responses.ResponseInputItemParamOfMessage("two", responses.EasyInputMessageRoleUser),
	}
	if err := memory.AddItems(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if err := memory.AddItems(t.Context(), items); err != nil {
		t.Fatal(err)
	}
	for limit, count := range map[int]int{-1: 4, 0: 4, 1: 1, 2: 1, 3: 3, 9: 4} {
		if actual := read(t, memory, limit); len(actual) != count {
			t.Errorf("%d: %v", limit, actual)
		}
	}
	if memory.SessionID(t.Context()) != "chat_1" {
		t.Error(memory.SessionID(t.Context()))
	}
	if err := memory.ClearSession(t.Context()); err != nil {
		t.Fatal(err)
	}
	if popped, err := memory.PopItem(t.Context()); popped != nil || err != nil || len(read(t, memory, 0)) != 0 {
		t.Errorf("%v, %v", popped, err)
	}
}

// answer is an answer of the Responses API.
func answer(output string) string {
	return fmt.Sprintf(`{"id":"r","object":"response","created_at":1,"status":"completed","model":"m","output":[%s]}`, output)
}

// What a model is sent in its second run is all that was said and called in the first, and the new question.
func TestModelSeesTheConversation(t *testing.T) {
	call := `{"type":"function_call","id":"fc_1","call_id":"c","name":"weather","arguments":"{}","status":"completed"}`
	says := `{"type":"message","id":"m","status":"completed","role":"assistant","content":[{"type":"output_text","text":"hi","annotations":[]}]}`
	script := []string{answer(call), answer(says), answer(says)}
	var asked [][]any
	model := httptest.NewServer(http.HandlerFunc(func(writer http.ResponseWriter, request *http.Request) {
		body, _ := io.ReadAll(request.Body)
		var sent struct{ Input []any }
		if err := json.Unmarshal(body, &sent); err != nil {
			t.Error(err)
		}
		writer.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(writer, script[len(asked)])
		asked = append(asked, sent.Input)
	}))
	defer model.Close()
	client := openai.NewClient(option.WithBaseURL(model.URL), option.WithAPIKey("none"))
	memory, _ := serving(t)
	ask := func(new ...item) {
		t.Helper()
		input := append(read(t, memory, 0), new...)
		request := responses.ResponseNewParams{Model: "m", Input: responses.ResponseNewParamsInputUnion{OfInputItemList: input}}
		reply, err := client.Responses.New(t.Context(), request)
		if err != nil {
			t.Fatal(err)
		}
		for _, output := range reply.Output {
			new = append(new, decoded([]byte(output.RawJSON())))
		}
		if err := memory.AddItems(t.Context(), new); err != nil {
			t.Fatal(err)
		}
	}
	ask(responses.ResponseInputItemParamOfMessage("Rain?", responses.EasyInputMessageRoleUser))
	ask(responses.ResponseInputItemParamOfFunctionCallOutput("c", "dry"))
	ask(responses.ResponseInputItemParamOfMessage("Sure?", responses.EasyInputMessageRoleUser))
	var types []any
	for _, sent := range asked[2] {
		types = append(types, sent.(map[string]any)["type"])
	}
	if !reflect.DeepEqual(types, []any{nil, "function_call", "function_call_output", "message", nil}) {
		t.Errorf("%v", asked[2])
	}
	if len(asked) != 3 || !reflect.DeepEqual(asked[2][1], meaning([]byte(call))) || !reflect.DeepEqual(asked[2][3], meaning([]byte(says))) {
		t.Errorf("%v", asked)
	}
}
