//! rig's memory trait on a turntree client.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use rig_core::completion::Message;
use rig_core::id::ConversationId;
use rig_core::memory::{ConversationMemory, MemoryError};
use rig_core::wasm_compat::WasmBoxedFuture;
use turntree::{Client, SessionHandle};

use crate::read::from_items;
use crate::write::to_items;

/// The dialect in which rig's messages are kept beside the items that stand for them.
pub const DIALECT: &str = "rig";

/// The memory of rig's agents on a turntree server. A conversation's id is the session's.
///
/// Conversations are kept on the branch `main`, unless [`session`](Self::session) was asked for and goes elsewhere.
/// Clones share that.
#[derive(Clone, Debug)]
pub struct TurntreeMemory {
    client: Client,
    sessions: Arc<Mutex<HashMap<String, SessionHandle>>>,
}

impl TurntreeMemory {
    /// A memory that talks through a client.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self { client, sessions: Arc::default() }
    }

    /// The handle of a conversation: branch it, or switch to another branch, and the agent goes on there.
    ///
    /// The memory keeps the handle for as long as it lives.
    pub fn session(&self, conversation_id: &str) -> SessionHandle {
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || self.client.session(conversation_id);
        sessions.entry(conversation_id.to_owned()).or_insert_with(new).clone()
    }

    /// The handle that was asked for, or one on `main` for this call.
    fn current(&self, conversation_id: &ConversationId) -> SessionHandle {
        let sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = sessions.get(conversation_id.as_str()).cloned();
        kept.unwrap_or_else(|| self.client.session(conversation_id.as_str()))
    }
}

impl ConversationMemory for TurntreeMemory {
    fn load<'a>(
        &'a self,
        conversation_id: &'a ConversationId,
    ) -> WasmBoxedFuture<'a, Result<Vec<Message>, MemoryError>> {
        Box::pin(async move {
            let items = self.current(conversation_id).items_with_natives(DIALECT).await;
            Ok(from_items(&items.map_err(MemoryError::backend)?))
        })
    }

    /// Appends the messages of a run: all of them or none, in one call, whose retries have one effect.
    fn append<'a>(
        &'a self,
        conversation_id: &'a ConversationId,
        messages: Vec<Message>,
    ) -> WasmBoxedFuture<'a, Result<(), MemoryError>> {
        Box::pin(async move {
            if messages.is_empty() {
                return Ok(());
            }
            let items = to_items(&messages).map_err(MemoryError::backend)?;
            let session = self.current(conversation_id);
            session.add_items_with_natives(DIALECT, items).await.map_err(MemoryError::backend)?;
            Ok(())
        })
    }

    fn clear<'a>(&'a self, conversation_id: &'a ConversationId) -> WasmBoxedFuture<'a, Result<(), MemoryError>> {
        Box::pin(async move { self.current(conversation_id).clear().await.map_err(MemoryError::backend) })
    }
}
