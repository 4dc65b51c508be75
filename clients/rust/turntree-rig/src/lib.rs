//! The conversation memory of rig's agents, kept by a turntree server.
//!
//! ```no_run
//! use rig_core::memory::ConversationMemory;
//! use turntree::Client;
//! use turntree_rig::TurntreeMemory;
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let memory = TurntreeMemory::new(Client::connect("localhost:50051").await?);
//! println!("{} messages", memory.load(&"conversation_123".into()).await?.len());
//! # Ok(())
//! # }
//! ```
//!
//! A message is stored in the OpenAI Responses input form, which every reader of the session understands. Where that
//! form does not say all of it, its own JSON is kept beside as native, in the dialect [`DIALECT`], and is what a later
//! load gives back: the very message.

mod memory;
mod read;
mod write;

pub use memory::{DIALECT, TurntreeMemory};
