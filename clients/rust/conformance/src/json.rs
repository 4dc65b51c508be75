//! Messages and errors as JSON, with the protos' own field names.

use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, SerializeOptions};
use serde_json::{Value, json};
use turntree::Error;

/// The descriptors of all messages.
#[derive(Clone)]
pub struct Protos(DescriptorPool);

impl Protos {
    pub fn new(descriptors: &[u8]) -> Result<Self, prost_reflect::DescriptorError> {
        DescriptorPool::decode(descriptors).map(Self)
    }

    /// The message that a JSON value describes.
    pub fn read<M: Message + Default>(&self, name: &str, value: Value) -> Result<M, String> {
        let descriptor = self.0.get_message_by_name(&full(name)).ok_or(format!("there is no message {name}"))?;
        let message = DynamicMessage::deserialize(descriptor, value).map_err(|error| error.to_string())?;
        message.transcode_to().map_err(|error| error.to_string())
    }

    /// A message as JSON.
    pub fn write<M: Message>(&self, name: &str, message: &M) -> Value {
        let descriptor = self.0.get_message_by_name(&full(name)).expect("the descriptors are those of the client");
        let mut dynamic = DynamicMessage::new(descriptor);
        dynamic.transcode_from(message).expect("the descriptors are those of the client");
        let options = SerializeOptions::new().use_proto_field_name(true);
        dynamic.serialize_with_options(serde_json::value::Serializer, &options).expect("every message is JSON")
    }
}

fn full(name: &str) -> String {
    format!("turntree.v1.{name}")
}

/// An error as the runner compares it.
pub fn error(error: &Error) -> Value {
    json!({
        "code": screaming(&format!("{:?}", error.code())),
        "reason": error.reason().as_str_name(),
        "facts": error.facts(),
        "message": error.message(),
    })
}

/// `NotFound` as `NOT_FOUND`.
fn screaming(name: &str) -> String {
    let mut out = String::new();
    for (index, letter) in name.chars().enumerate() {
        if index > 0 && letter.is_ascii_uppercase() {
            out.push('_');
        }
        out.push(letter.to_ascii_uppercase());
    }
    out
}
