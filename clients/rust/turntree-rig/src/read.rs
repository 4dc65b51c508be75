//! From items to rig's messages: the very message where its native is there, and else what the item says.

use rig_core::completion::Message;
use rig_core::message::{
    AssistantContent, AssistantMessage, CallId, Document, DocumentSourceKind, Image, ImageDetail, MimeType, Opaque,
    ToolCall, ToolFunction, ToolName, ToolResult, ToolResultContent, UserContent,
};
use serde_json::Value;
use turntree::ItemWithNative;

use crate::write::responses_form;

/// The name of a tool whose call is not in the history.
const UNKNOWN_TOOL: &str = "unknown";

/// The messages that items stand for.
pub(crate) fn from_items(items: &[ItemWithNative]) -> Vec<Message> {
    let mut reader = Reader::default();
    let mut rest = items;
    while let Some((first, others)) = rest.split_first() {
        if let Some((message, count)) = native(rest) {
            reader.push_native(message);
            rest = &rest[count..];
        } else {
            reader.push(serde_json::from_slice(&first.item).unwrap_or_default());
            rest = others;
        }
    }
    reader.messages
}

/// The message whose native begins here, and how many items it has, if all of them are still there.
fn native(items: &[ItemWithNative]) -> Option<(Message, usize)> {
    let message: Message = serde_json::from_slice(items.first()?.native.as_ref()?).ok()?;
    let continued = items[1..].iter().take_while(|item| item.native.as_deref() == Some(b"null")).count();
    (responses_form(&message).len() == 1 + continued).then_some((message, 1 + continued))
}

/// Puts together the messages of other writers, who have one item where rig has a part of a message.
#[derive(Default)]
struct Reader {
    messages: Vec<Message>,
    /// Whether the last message was made of items of another writer, and takes more of their kind.
    is_open: bool,
}

impl Reader {
    fn push_native(&mut self, message: Message) {
        self.messages.push(message);
        self.is_open = false;
    }

    fn push(&mut self, item: Value) {
        match item["type"].as_str() {
            Some("function_call") => self.push_block(call(&item)),
            Some("reasoning") => self.push_block(AssistantContent::reasoning(reasoning_text(&item))),
            Some("function_call_output") => self.push_result(&item),
            None | Some("message") if item["role"].is_string() => self.push_message(&item),
            _ => self.push_block(AssistantContent::Opaque(Opaque { item, replay: false })),
        }
    }

    /// Adds a call, or reasoning, to the assistant's turn that it belongs to.
    fn push_block(&mut self, block: AssistantContent) {
        if let Some(Message::Assistant(turn)) = self.messages.last_mut()
            && self.is_open
        {
            turn.content.push(block);
        } else {
            self.messages.push(Message::Assistant(AssistantMessage::new(vec![block])));
        }
        self.is_open = true;
    }

    fn push_result(&mut self, item: &Value) {
        let result = UserContent::ToolResult(ToolResult {
            call: CallId::from_wire(text(&item["call_id"])),
            name: self.tool_name(text(&item["call_id"])),
            content: result_content(&item["output"]),
            is_error: false,
        });
        if let Some(Message::User { content }) = self.messages.last_mut()
            && self.is_open
        {
            content.push(result);
        } else {
            self.messages.push(Message::User { content: vec![result] });
        }
        self.is_open = true;
    }

    fn push_message(&mut self, item: &Value) {
        let content = &item["content"];
        match text(&item["role"]) {
            "user" => {
                self.messages.push(Message::User { content: user_content(content) });
                self.is_open = false;
            }
            "assistant" => {
                let block = AssistantContent::text(plain_text(content));
                if self.is_open && matches!(self.messages.last(), Some(Message::Assistant(_))) {
                    self.push_block(block);
                } else {
                    self.messages.push(Message::Assistant(AssistantMessage::new(vec![block])));
                    self.is_open = false;
                }
            }
            _ => {
                self.messages.push(Message::system(plain_text(content)));
                self.is_open = false;
            }
        }
    }

    /// The tool that a call of the history names.
    fn tool_name(&self, call_id: &str) -> ToolName {
        let calls = self.messages.iter().rev().filter_map(|message| match message {
            Message::Assistant(turn) => Some(turn.tool_calls()),
            _ => None,
        });
        let mut names = calls.flatten().filter(|call| call.id.to_string() == call_id).map(|call| &call.function.name);
        names.next().cloned().unwrap_or_else(|| tool_name(UNKNOWN_TOOL))
    }
}

fn call(item: &Value) -> AssistantContent {
    let function = ToolFunction::parse(tool_name(text(&item["name"])), text(&item["arguments"]));
    AssistantContent::ToolCall(ToolCall::from_wire(text(&item["call_id"]), function))
}

fn tool_name(name: &str) -> ToolName {
    ToolName::new(name).unwrap_or_else(|_| ToolName::new(UNKNOWN_TOOL).expect("a word is a name"))
}

/// What a reasoning item shows: its summary, or else its content.
fn reasoning_text(item: &Value) -> String {
    let shown = plain_text(&item["summary"]);
    if shown.is_empty() { plain_text(&item["content"]) } else { shown }
}

fn result_content(output: &Value) -> Vec<ToolResultContent> {
    match output {
        Value::String(text) => vec![ToolResultContent::text(text)],
        Value::Array(parts) => parts
            .iter()
            .map(|part| match image(part) {
                Some(image) => ToolResultContent::Image(image),
                None => ToolResultContent::text(part_text(part)),
            })
            .collect(),
        other => vec![ToolResultContent::text(other.to_string())],
    }
}

fn user_content(content: &Value) -> Vec<UserContent> {
    match content.as_array() {
        Some(parts) => parts.iter().map(user_part).collect(),
        None => vec![UserContent::text(text(content))],
    }
}

fn user_part(part: &Value) -> UserContent {
    if let Some(image) = image(part) {
        UserContent::Image(image)
    } else if let Some(document) = document(part) {
        UserContent::Document(document)
    } else {
        UserContent::text(part_text(part))
    }
}

/// The image of a part, if it is one.
fn image(part: &Value) -> Option<Image> {
    if part["type"] != "input_image" {
        return None;
    }
    let (data, media_type) = match (part["image_url"].as_str(), part["file_id"].as_str()) {
        (Some(url), _) => embedded(url).unwrap_or_else(|| (DocumentSourceKind::url(url), None)),
        (None, Some(id)) => (DocumentSourceKind::file_id(id), None),
        (None, None) => return None,
    };
    let detail: Option<ImageDetail> = serde_json::from_value(part["detail"].clone()).ok();
    Some(Image { data, media_type, detail, native: None })
}

/// The document of a part, if it is a file that rig has a source and a type for.
fn document(part: &Value) -> Option<Document> {
    if part["type"] != "input_file" {
        return None;
    }
    let (data, media_type) = if let Some(data) = part["file_data"].as_str() {
        embedded(data)?
    } else if let Some(url) = part["file_url"].as_str() {
        (DocumentSourceKind::url(url), None)
    } else {
        (DocumentSourceKind::file_id(part["file_id"].as_str()?), None)
    };
    Some(Document { data, media_type, additional_params: None })
}

/// The data that stands in its own URL.
fn embedded<M: MimeType>(url: &str) -> Option<(DocumentSourceKind, Option<M>)> {
    let (media_type, data) = url.strip_prefix("data:")?.split_once(";base64,")?;
    Some((DocumentSourceKind::base64(data), Some(M::from_mime_type(media_type)?)))
}

/// The text of a content, which is a text or a list of parts.
fn plain_text(content: &Value) -> String {
    match content.as_array() {
        Some(parts) => parts.iter().map(part_text).collect(),
        None => text(content).to_owned(),
    }
}

/// The text of a part; for one that has none, its type in brackets.
fn part_text(part: &Value) -> String {
    let Value::Object(_) = part else {
        return part.as_str().map_or_else(|| part.to_string(), str::to_owned);
    };
    let key = if part["type"] == "refusal" { "refusal" } else { "text" };
    part[key].as_str().map_or_else(|| format!("[{}]", text(&part["type"])), str::to_owned)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use rig_core::message::ImageMediaType;
    use serde_json::json;

    use super::*;

    fn read(items: &[Value]) -> Vec<Message> {
        let items: Vec<ItemWithNative> =
            items.iter().map(|item| ItemWithNative { item: serde_json::to_vec(item).unwrap(), native: None }).collect();
        from_items(&items)
    }

    fn call_item(call_id: &str, name: &str) -> Value {
        json!({"type": "function_call", "call_id": call_id, "name": name, "arguments": "{\"n\": 1}"})
    }

    /// Messages of other writers have their text and images, however they write their content.
    #[test]
    fn contents() {
        let url = json!({"type": "input_image", "image_url": "https://example.com/a.png", "detail": "low"});
        let data = json!({"type": "input_image", "image_url": "data:image/png;base64,aGk="});
        let parts = json!([{"type": "input_text", "text": "look"}, url, data]);
        let refusal = json!([{"type": "output_text", "text": "I "}, {"type": "output_text", "text": "see"}]);
        let read = read(&[
            json!({"role": "developer", "content": "Be brief."}),
            json!({"type": "message", "role": "user", "content": parts}),
            json!({"role": "assistant", "content": refusal}),
        ]);
        let expected = [
            Message::system("Be brief."),
            Message::User {
                content: vec![
                    UserContent::text("look"),
                    UserContent::image_url("https://example.com/a.png", None, Some(ImageDetail::Low)),
                    UserContent::image_base64("aGk=", Some(ImageMediaType::PNG), None),
                ],
            },
            Message::assistant("I see"),
        ];
        assert_eq!(read, expected);
    }

    /// Reasoning, calls and the answer that follow each other are one turn, and so are the results; each names its tool.
    #[test]
    fn turns() {
        let messages = read(&[
            json!({"role": "user", "content": "go"}),
            json!({"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}]}),
            call_item("c1", "first"),
            call_item("c2", "second"),
            json!({"type": "function_call_output", "call_id": "c2", "output": "two"}),
            json!({"type": "function_call_output", "call_id": "c1", "output": [{"type": "input_text", "text": "one"}]}),
            json!({"type": "function_call_output", "call_id": "c0", "output": "none"}),
            json!({"role": "assistant", "content": "done"}),
        ]);
        let [_, Message::Assistant(turn), Message::User { content: results }, last] = messages.as_slice() else {
            panic!("{messages:?}");
        };
        assert_eq!(turn.content[0], AssistantContent::reasoning("hm"));
        let names: Vec<&str> = turn.tool_calls().map(|call| call.function.name.as_str()).collect();
        assert_eq!(names, ["first", "second"]);
        let tools: Vec<&str> = results
            .iter()
            .map(|part| match part {
                UserContent::ToolResult(result) => result.name.as_str(),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(tools, ["second", "first", UNKNOWN_TOOL]);
        assert_eq!(last, &Message::assistant("done"));
    }

    /// What rig has no part for is kept, and not sent to a model; what is no JSON is too.
    #[test]
    fn unknown_items() {
        let item = json!({"type": "web_search_call", "id": "ws_1"});
        let opaque = |item| AssistantContent::Opaque(Opaque { item, replay: false });
        let expected = Message::Assistant(AssistantMessage::new(vec![opaque(item.clone())]));
        assert_eq!(read(&[item]), [expected]);
        let broken = ItemWithNative { item: b"no JSON".to_vec(), native: Some(b"no message".to_vec()) };
        let expected = Message::Assistant(AssistantMessage::new(vec![opaque(Value::Null)]));
        assert_eq!(from_items(&[broken]), [expected]);
    }
}
