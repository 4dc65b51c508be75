//! Messages come back as they were, whatever they hold.

use rig_core::completion::Message;
use rig_core::memory::ConversationMemory;
use rig_core::message::{
    AssistantContent, AssistantMessage, CallId, Document, DocumentMediaType, DocumentSourceKind, ImageDetail,
    ImageMediaType, LocalCallId, Opaque, Origin, Reasoning, StopReason, ToolCall, ToolFunction, ToolName,
    ToolResultContent, UserContent,
};
use serde_json::{Value, json};
use turntree::v1::{PopItemRequest, StreamItemsRequest};
use turntree::{Client, ItemWithNative};
use turntree_rig::{DIALECT, TurntreeMemory};
use turntree_testing::Server;

const CONVERSATION: &str = "conversation_123";

fn name(name: &str) -> ToolName {
    ToolName::new(name).unwrap()
}

fn call(id: CallId, arguments: Value) -> ToolCall {
    ToolCall::new(id, ToolFunction::new(name("weather"), arguments))
}

fn assistant(content: Vec<AssistantContent>) -> Message {
    Message::Assistant(AssistantMessage::new(content))
}

/// Every kind of message and part that rig has.
fn messages() -> Vec<Message> {
    let local = call(CallId::from(LocalCallId::new()), json!({"n": 9_007_199_254_740_993_u64, "s": "Zürich 🏔️"}));
    let wire = call(CallId::from_wire("call_1"), json!({}));
    let results = Message::tool_results(vec![
        local.result(vec![ToolResultContent::text("sunny"), ToolResultContent::image_base64("aGk=", None, None)]),
        wire.error_result(vec![ToolResultContent::json(json!({"code": 7}))]),
    ]);
    let broken = ToolFunction::parse(name("weather"), r#"{"city": "Lis"#);
    let origin = Origin::new("anthropic.messages", "anthropic", "claude");
    let block = AssistantContent::text("cited").with_native(json!({"type": "text", "text": "cited", "citations": [1]}));
    let text = |text: &str| AssistantContent::text(text);
    vec![
        Message::system("Be brief."),
        Message::user("What do you see?"),
        Message::user(""),
        Message::User {
            content: vec![
                UserContent::text("one"),
                UserContent::text("two"),
                UserContent::image_url("https://example.com/a.png", None, Some(ImageDetail::High)),
                UserContent::image_base64("aGk=", Some(ImageMediaType::PNG), None),
                UserContent::document_text("# Title", Some(DocumentMediaType::MARKDOWN)),
                UserContent::document_base64("aGk=", Some(DocumentMediaType::PDF)),
                UserContent::audio_base64("aGk=", None),
                UserContent::video_url("https://example.com/a.mp4", None),
            ],
        },
        Message::User { content: vec![] },
        Message::assistant("A bridge."),
        Message::assistant("Two in a row."),
        assistant(vec![text("Let me see."), AssistantContent::ToolCall(local)]),
        assistant(vec![AssistantContent::Reasoning(Reasoning::new("hm")), AssistantContent::ToolCall(wire)]),
        results,
        Message::User {
            content: vec![
                UserContent::text("before"),
                UserContent::tool_result(CallId::from_wire("c9"), name("x"), vec![ToolResultContent::text("y")]),
                UserContent::text("after"),
            ],
        },
        assistant(vec![AssistantContent::ToolCall(ToolCall::new(CallId::from_wire("c3"), broken))]),
        assistant(vec![AssistantContent::reasoning("only thought")]),
        assistant(vec![AssistantContent::Opaque(Opaque { item: json!({"type": "search"}), replay: true })]),
        assistant(vec![]),
        Message::Assistant(AssistantMessage::new(vec![block]).with_origin(origin).with_stop(StopReason::Length)),
    ]
}

async fn memory(server: &Server) -> TurntreeMemory {
    TurntreeMemory::new(Client::connect(server.address()).await.unwrap())
}

async fn stored(memory: &TurntreeMemory) -> Vec<ItemWithNative> {
    memory.session(CONVERSATION).items_with_natives(DIALECT).await.unwrap()
}

/// Every message comes back as it was, in one append or one by one, in any order.
#[tokio::test]
async fn round_trip() {
    let server = Server::start();
    let memory = memory(&server).await;
    let mut expected = messages();
    memory.append(&CONVERSATION.into(), expected.clone()).await.unwrap();
    for message in messages().into_iter().rev() {
        memory.append(&CONVERSATION.into(), vec![message.clone()]).await.unwrap();
        expected.push(message);
    }
    assert_eq!(memory.load(&CONVERSATION.into()).await.unwrap(), expected);
}

/// A message that the Responses form says all of has no native, and no item has a key that the form does not know.
#[tokio::test]
async fn natives_where_needed() {
    let server = Server::start();
    let memory = memory(&server).await;
    let plain = [Message::system("a"), Message::user("b"), Message::assistant("c")];
    memory.append(&CONVERSATION.into(), plain.to_vec()).await.unwrap();
    assert!(stored(&memory).await.iter().all(|item| item.native.is_none()));
    memory.append(&CONVERSATION.into(), messages()).await.unwrap();
    let items = stored(&memory).await;
    assert!(items.iter().any(|item| item.native.is_some()));
    let known = ["role", "content", "type", "call_id", "output", "name", "arguments", "summary"];
    for item in items {
        let item: Value = serde_json::from_slice(&item.item).unwrap();
        assert!(item.as_object().unwrap().keys().all(|key| known.contains(&key.as_str())), "{item}");
    }
}

/// Parts of other writers that are neither text nor image are shown: a file as rig's document, a refusal by its text, and
/// what rig has no part for by its type.
#[tokio::test]
async fn parts_of_other_writers() {
    let server = Server::start();
    let memory = memory(&server).await;
    let file = |key: &str, value: &str| json!({"type": "input_file", "filename": "a.pdf", key: value});
    let sheet = "data:application/vnd.ms-excel;base64,aGk=";
    let audio = json!({"type": "input_audio", "input_audio": {"data": "aGk=", "format": "wav"}});
    let question = json!([
        file("file_data", "data:application/pdf;base64,aGk="),
        file("file_data", "data:text/csv;base64,aGk="),
        file("file_data", sheet),
        file("file_url", "https://example.com/a.pdf"),
        file("file_id", "file_1"),
        {"type": "input_file"},
        audio,
        {"type": "input_image"},
        "bare",
    ]);
    let output = json!([file("file_id", "file_1"), {"type": "input_text", "text": "done"}, {"type": "input_audio"}]);
    let items = [
        json!({"role": "user", "content": question}),
        json!({"type": "function_call_output", "call_id": "c1", "output": output}),
        json!({"role": "assistant", "content": [
            {"type": "output_text", "text": "No: "}, {"type": "refusal", "refusal": "I cannot."}, {"type": "output_audio"},
        ]}),
    ];
    let items = items.iter().map(|item| serde_json::to_vec(item).unwrap()).collect();
    memory.session(CONVERSATION).add_items(items).await.unwrap();

    let document = |data, media_type| UserContent::Document(Document { data, media_type, additional_params: None });
    let result = vec!["[input_file]", "done", "[input_audio]"].into_iter().map(ToolResultContent::text).collect();
    let expected = [
        Message::User {
            content: vec![
                document(DocumentSourceKind::base64("aGk="), Some(DocumentMediaType::PDF)),
                document(DocumentSourceKind::base64("aGk="), Some(DocumentMediaType::CSV)),
                UserContent::text("[input_file]"),
                document(DocumentSourceKind::url("https://example.com/a.pdf"), None),
                document(DocumentSourceKind::file_id("file_1"), None),
                UserContent::text("[input_file]"),
                UserContent::text("[input_audio]"),
                UserContent::text("[input_image]"),
                UserContent::text("bare"),
            ],
        },
        Message::User { content: vec![UserContent::tool_result(CallId::from_wire("c1"), name("unknown"), result)] },
        Message::assistant("No: I cannot.[output_audio]"),
    ];
    assert_eq!(memory.load(&CONVERSATION.into()).await.unwrap(), expected);
}

/// When a part of a message was removed, the rest of it is still read, from the items.
#[tokio::test]
async fn popped_parts() {
    let server = Server::start();
    let memory = memory(&server).await;
    let call = call(CallId::from_wire("call_1"), json!({"city": "Lisbon"}));
    let message = assistant(vec![AssistantContent::text("Let me see."), AssistantContent::ToolCall(call)]);
    memory.append(&CONVERSATION.into(), vec![Message::user("a"), message]).await.unwrap();
    let pop = PopItemRequest { session_id: CONVERSATION.to_owned(), ..PopItemRequest::default() };
    memory.session(CONVERSATION).client().pop_item(pop).await.unwrap();
    let left = memory.load(&CONVERSATION.into()).await.unwrap();
    assert_eq!(left, [Message::user("a"), Message::assistant("Let me see.")]);
}

/// A history larger than a message of gRPC comes back whole, natives included.
#[tokio::test]
async fn long_histories() {
    let server = Server::start();
    let memory = memory(&server).await;
    let long = || assistant(vec![AssistantContent::reasoning("x".repeat(300_000)), AssistantContent::text("y")]);
    let expected: Vec<Message> = (0..12).map(|_| long()).collect();
    for part in expected.chunks(3) {
        memory.append(&CONVERSATION.into(), part.to_vec()).await.unwrap();
    }
    assert_eq!(memory.load(&CONVERSATION.into()).await.unwrap(), expected);
    let request = StreamItemsRequest { session_id: CONVERSATION.to_owned(), ..StreamItemsRequest::default() };
    let mut parts = memory.session(CONVERSATION).client().stream_items(request);
    assert!(parts.try_next().await.unwrap().unwrap().delta.unwrap().more);
}
