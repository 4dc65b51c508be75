//! What the tests of the adapter share.
#![allow(dead_code, reason = "each test uses a part of it")]

use rig_core::driver::Model;
use rig_core::providers::openai::OpenAIConfig;
use rig_core::providers::openai::responses_api::wire::Responses;
use rig_core::test_utils::{MockHttpResponse, SequencedHttpClient};
use serde_json::{Value, json};

/// A model of the Responses API whose answers, each a list of output items, stand in a script; and what it was asked.
pub fn scripted_model(answers: &[Value]) -> (Model<Responses>, SequencedHttpClient) {
    let replies = answers.iter().enumerate().map(|(number, output)| {
        let usage = json!({"input_tokens": 10, "output_tokens": 5, "total_tokens": 15});
        let reply = json!({
            "id": format!("resp_{number}"), "object": "response", "created_at": 1, "status": "completed",
            "model": "gpt-5.2", "output": output, "usage": usage,
        });
        MockHttpResponse::success(reply.to_string())
    });
    let http = SequencedHttpClient::new(replies);
    (OpenAIConfig::new("no key").connect(http.clone()).responses("gpt-5.2"), http)
}

pub fn says(text: &str) -> Value {
    let content = json!([{"type": "output_text", "text": text, "annotations": []}]);
    json!({"type": "message", "id": "msg_1", "status": "completed", "role": "assistant", "content": content})
}

pub fn calls(name: &str, arguments: &Value) -> Value {
    let arguments = arguments.to_string();
    json!({"type": "function_call", "id": "fc_1", "call_id": "call_1", "status": "completed", "name": name, "arguments": arguments})
}

pub fn thinks(text: &str) -> Value {
    let summary = json!([{"type": "summary_text", "text": text}]);
    json!({"type": "reasoning", "id": "rs_1", "summary": summary, "encrypted_content": "c2VjcmV0"})
}
