//! Session memory for AI agents, served over gRPC by turntree: conversations that
//! branch, with token usage by turn and structured queries.
//!
//! A [`Client`] has one method for each call of the server, which takes and returns the messages of [`v1`]. A
//! [`SessionHandle`] is a shorter way to talk in one conversation: it keeps the current branch.
//!
//! ```no_run
//! # async fn run() -> Result<(), turntree::Error> {
//! let client = turntree::Client::connect("localhost:50051").await?;
//! let session = client.session("conversation_123");
//! session.add_items(vec![br#"{"role": "user", "content": "Hello"}"#.to_vec()]).await?;
//! assert_eq!(session.items().await?.len(), 1);
//! # Ok(())
//! # }
//! ```

mod address;
mod builder;
mod calls;
mod client;
mod error;
mod lane;
mod pages;
mod pipeline;
mod responses;
mod resuming;
mod retries;
mod rows;
mod seen_turns;
mod session_handle;
mod token;

#[allow(clippy::all, clippy::pedantic, dead_code, missing_docs)]
#[rustfmt::skip]
mod pipeline_v1;
#[allow(clippy::all, clippy::pedantic, missing_docs)]
#[rustfmt::skip]
pub mod v1;

pub use builder::Builder;
pub use client::Client;
pub use error::{Code, Error};
pub use pages::Paged;
pub use responses::Responses;
pub use rows::{ItemMetadataRow, ToolUsageRow, TurnRow};
pub use session_handle::{ItemWithNative, SessionHandle};
#[doc(no_inline)]
pub use v1::ErrorReason;
