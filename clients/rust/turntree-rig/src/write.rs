//! From rig's messages to items in the Responses input form.

use rig_core::completion::Message;
use rig_core::message::{
    AssistantContent, AssistantMessage, Document, DocumentMediaType, DocumentSourceKind, Image, MimeType, ToolCall,
    ToolResult, ToolResultContent, UserContent,
};
use serde_json::{Value, json};
use turntree::ItemWithNative;

use crate::read::from_items;

/// The API whose items are in the Responses form already.
const RESPONSES_API: &str = "openai.responses";

/// What is native of the second and later items of a message: the first has all of it.
const CONTINUED: &[u8] = b"null";

/// The items of messages. One that its items do not say all of has its own JSON as native of the first of them.
pub(crate) fn to_items(messages: &[Message]) -> Result<Vec<ItemWithNative>, serde_json::Error> {
    let mut items = Vec::new();
    for message in messages {
        let mut own: Vec<ItemWithNative> = responses_form(message)
            .iter()
            .map(|item| Ok(ItemWithNative { item: serde_json::to_vec(item)?, native: None }))
            .collect::<Result<_, serde_json::Error>>()?;
        if !survives(message, &own) {
            for item in &mut own {
                item.native = Some(CONTINUED.to_vec());
            }
            own[0].native = Some(serde_json::to_vec(message)?);
        }
        items.append(&mut own);
    }
    Ok(items)
}

/// Whether a message can be told from its items alone, whatever stands before and after them.
///
/// Calls and reasoning never are: those without a native are another writer's, and are read as parts of one message.
fn survives(message: &Message, items: &[ItemWithNative]) -> bool {
    let is_text = match message {
        Message::Assistant(turn) => matches!(turn.content.as_slice(), [AssistantContent::Text(_)]),
        Message::System { .. } => true,
        Message::User { content } => !content.iter().any(|part| matches!(part, UserContent::ToolResult(_))),
    };
    is_text && items.len() == 1 && from_items(items).as_slice() == std::slice::from_ref(message)
}

/// A message in the Responses input form: one item at least.
pub(crate) fn responses_form(message: &Message) -> Vec<Value> {
    match message {
        Message::System { content } => vec![json!({"role": "system", "content": content})],
        Message::User { content } => user_items(content),
        Message::Assistant(turn) => assistant_items(turn),
    }
}

/// One message for the parts that follow each other, and an item of its own for each result.
fn user_items(content: &[UserContent]) -> Vec<Value> {
    let mut items = Vec::new();
    let mut parts = Vec::new();
    for part in content {
        if let UserContent::ToolResult(result) = part {
            if !parts.is_empty() {
                items.push(user_message(std::mem::take(&mut parts)));
            }
            items.push(call_output(result));
        } else {
            parts.push(user_part(part));
        }
    }
    if !parts.is_empty() || items.is_empty() {
        items.push(user_message(parts));
    }
    items
}

fn user_message(mut parts: Vec<Value>) -> Value {
    let content = match parts.as_mut_slice() {
        [] => json!(""),
        [part] if part["type"] == "input_text" => part["text"].take(),
        _ => Value::Array(parts),
    };
    json!({"role": "user", "content": content})
}

fn user_part(part: &UserContent) -> Value {
    match part {
        UserContent::Text(text) => input_text(&text.text),
        UserContent::Image(image) => image_part(image),
        UserContent::Document(document) => document_part(document),
        UserContent::Audio(_) => input_text("[audio]"),
        UserContent::Video(_) => input_text("[video]"),
        UserContent::ToolResult(_) => unreachable!("a result is an item of its own"),
    }
}

fn input_text(text: &str) -> Value {
    json!({"type": "input_text", "text": text})
}

/// An image in the form; a word in its place when the form has none for its source.
fn image_part(image: &Image) -> Value {
    let url = match (&image.data, &image.media_type) {
        (DocumentSourceKind::Url(url), _) => url.clone(),
        (DocumentSourceKind::Base64(data), Some(media)) => format!("data:{};base64,{data}", media.to_mime_type()),
        (DocumentSourceKind::FileId(id), _) => {
            return json!({"type": "input_image", "file_id": id, "detail": image.detail.clone().unwrap_or_default()});
        }
        _ => return input_text("[image]"),
    };
    json!({"type": "input_image", "image_url": url, "detail": image.detail.clone().unwrap_or_default()})
}

/// A document in the form; a word in its place when the form has none for its source.
fn document_part(document: &Document) -> Value {
    match &document.data {
        DocumentSourceKind::String(text) => input_text(text),
        DocumentSourceKind::FileId(id) => json!({"type": "input_file", "file_id": id}),
        DocumentSourceKind::Url(url) => json!({"type": "input_file", "file_url": url}),
        DocumentSourceKind::Base64(data) if document.media_type == Some(DocumentMediaType::PDF) => {
            let data = format!("data:application/pdf;base64,{data}");
            json!({"type": "input_file", "filename": "document.pdf", "file_data": data})
        }
        _ => input_text("[document]"),
    }
}

fn call_output(result: &ToolResult) -> Value {
    let output = match result.content.as_slice() {
        [ToolResultContent::Text(text)] => json!(text.text),
        [ToolResultContent::Json { value }] => json!(value.to_string()),
        parts => parts.iter().map(result_part).collect(),
    };
    json!({"type": "function_call_output", "call_id": result.call.to_string(), "output": output})
}

fn result_part(part: &ToolResultContent) -> Value {
    match part {
        ToolResultContent::Text(text) => input_text(&text.text),
        ToolResultContent::Json { value } => input_text(&value.to_string()),
        ToolResultContent::Image(image) => image_part(image),
    }
}

/// One item for each block of an assistant's turn. A block that came from the Responses API is what it was there.
fn assistant_items(turn: &AssistantMessage) -> Vec<Value> {
    let is_responses = turn.origin.as_ref().is_some_and(|origin| origin.api.as_str() == RESPONSES_API);
    let own_form = |block: &AssistantContent| match block {
        AssistantContent::Opaque(opaque) => Some(opaque.item.clone()),
        block => block.native_item().cloned(),
    };
    let mut items: Vec<Value> = turn
        .content
        .iter()
        .filter_map(|block| match own_form(block) {
            Some(item) if is_responses && item.is_object() => Some(item),
            _ => assistant_item(block),
        })
        .collect();
    if items.is_empty() {
        items.push(assistant_message(""));
    }
    items
}

/// A block in the form; `None` for what only another API understands.
fn assistant_item(block: &AssistantContent) -> Option<Value> {
    match block {
        AssistantContent::Text(text) => Some(assistant_message(&text.text)),
        AssistantContent::ToolCall(call) => Some(function_call(call)),
        AssistantContent::Reasoning(reasoning) => {
            Some(json!({"type": "reasoning", "summary": [{"type": "summary_text", "text": reasoning.text}]}))
        }
        AssistantContent::Image(_) => Some(assistant_message("[image]")),
        _ => None,
    }
}

fn assistant_message(text: &str) -> Value {
    let content = json!([{"type": "output_text", "text": text, "annotations": []}]);
    json!({"type": "message", "role": "assistant", "content": content})
}

fn function_call(call: &ToolCall) -> Value {
    let function = &call.function;
    let arguments = function.invalid_arguments.clone().unwrap_or_else(|| function.arguments_value().to_string());
    let (call_id, name) = (call.id.to_string(), function.name.as_str());
    json!({"type": "function_call", "call_id": call_id, "name": name, "arguments": arguments})
}
