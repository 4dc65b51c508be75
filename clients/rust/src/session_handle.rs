//! One session, with the branch that its user stands on.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::client::Client;
use crate::error::Error;
use crate::responses::Responses;
use crate::v1::create_branch_request::Origin;
use crate::v1::*;

/// The branch that every session begins with.
pub(crate) const MAIN: &str = "main";

/// An item in the Responses input form, and the native form that an SDK keeps of it, if it does: see [`NativeItem`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ItemWithNative {
    /// The item, a JSON text in UTF-8.
    pub item: Vec<u8>,
    /// The native form, a JSON text in UTF-8.
    pub native: Option<Vec<u8>>,
}

/// One session and its current branch, for those who talk in one conversation.
///
/// The current branch is `main` first. It is this handle's own state, kept in no server, and shared by its clones. When
/// somebody clears the session, the handle is back on `main` with its next call.
#[derive(Clone, Debug)]
pub struct SessionHandle {
    client: Client,
    session_id: String,
    branch: Arc<Mutex<BranchPointer>>,
}

impl SessionHandle {
    pub(crate) fn new(client: Client, session_id: String) -> Self {
        let branch = BranchPointer { branch_id: MAIN.to_owned(), generation: None };
        Self { client, session_id, branch: Arc::new(Mutex::new(branch)) }
    }

    /// The session's name.
    #[must_use]
    pub fn session_id(&self) -> &str {
        &self.session_id
    }

    /// The client that the calls go through.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Where the handle stands, for the requests of [`Client`].
    #[must_use]
    pub fn branch(&self) -> BranchPointer {
        self.lock().clone()
    }

    /// Appends items to the current branch, each a JSON text in UTF-8: all of them or none.
    ///
    /// # Errors
    ///
    /// See [`Client::add_items`].
    pub async fn add_items(&self, items: Vec<Vec<u8>>) -> Result<AddItemsResponse, Error> {
        self.add(items, Vec::new()).await
    }

    /// Appends items to the current branch with their native forms in a dialect: all of them or none.
    ///
    /// # Errors
    ///
    /// See [`Client::add_items`].
    pub async fn add_items_with_natives(
        &self,
        dialect: &str,
        items: Vec<ItemWithNative>,
    ) -> Result<AddItemsResponse, Error> {
        let mut natives = Vec::new();
        let mut plain = Vec::with_capacity(items.len());
        for (index, ItemWithNative { item, native }) in (0..).zip(items) {
            natives.extend(native.map(|native| NativeItem { index, dialect: dialect.to_owned(), native }));
            plain.push(item);
        }
        self.add(plain, natives).await
    }

    /// All items of the current branch, in order, however many there are.
    ///
    /// # Errors
    ///
    /// See [`Client::stream_items`].
    pub async fn items(&self) -> Result<Vec<Vec<u8>>, Error> {
        Ok(self.read(None).await?.into_iter().map(|item| item.item).collect())
    }

    /// All items of the current branch, with the native forms of those that have one in this dialect.
    ///
    /// # Errors
    ///
    /// See [`Client::stream_items`].
    pub async fn items_with_natives(&self, dialect: &str) -> Result<Vec<ItemWithNative>, Error> {
        self.read(Some(dialect.to_owned())).await
    }

    /// Removes the newest item of the current branch and returns it; `None` when there is none.
    ///
    /// # Errors
    ///
    /// See [`Client::pop_item`].
    pub async fn pop_item(&self) -> Result<Option<Vec<u8>>, Error> {
        let sent = self.branch();
        let request = PopItemRequest {
            session_id: self.session_id.clone(),
            branch: Some(sent.clone()),
            ..PopItemRequest::default()
        };
        let response = self.client.pop_item(request).await?;
        self.stand_on(&sent, response.branch.as_ref());
        Ok(response.item)
    }

    /// Removes every item, branch and usage figure of the session, and goes back to `main`.
    ///
    /// # Errors
    ///
    /// See [`Client::clear_session`].
    pub async fn clear(&self) -> Result<(), Error> {
        let request = ClearSessionRequest { session_id: self.session_id.clone(), ..ClearSessionRequest::default() };
        let response = self.client.clear_session(request).await?;
        *self.lock() = response.branch.unwrap_or_default();
        Ok(())
    }

    /// Forks the current branch and goes to the new one. Without an id, the server makes one up.
    ///
    /// # Errors
    ///
    /// See [`Client::create_branch`].
    pub async fn create_branch(&self, origin: Origin, new_branch_id: Option<&str>) -> Result<Branch, Error> {
        let request = CreateBranchRequest {
            session_id: self.session_id.clone(),
            branch: Some(self.branch()),
            origin: Some(origin),
            new_branch_id: new_branch_id.map(str::to_owned),
            ..CreateBranchRequest::default()
        };
        let branch = self.client.create_branch(request).await?.branch.unwrap_or_default();
        self.go_to(&branch);
        Ok(branch)
    }

    /// Goes to another branch.
    ///
    /// # Errors
    ///
    /// See [`Client::get_branch`]; `NOT_FOUND` with `BRANCH_NOT_FOUND` when it holds no items and is not `main`.
    pub async fn switch_to(&self, branch_id: &str) -> Result<Branch, Error> {
        let request = GetBranchRequest { session_id: self.session_id.clone(), branch_id: branch_id.to_owned() };
        let branch = self.client.get_branch(request).await?.branch.unwrap_or_default();
        self.go_to(&branch);
        Ok(branch)
    }

    /// Records the usage of the current turn, the one the branch's last item belongs to, in place of what is there.
    ///
    /// # Errors
    ///
    /// See [`Client::record_usage`].
    pub async fn record_usage(&self, usage: Usage) -> Result<RecordUsageResponse, Error> {
        let sent = self.branch();
        let request = RecordUsageRequest {
            session_id: self.session_id.clone(),
            branch: Some(sent.clone()),
            usage: Some(usage),
            ..RecordUsageRequest::default()
        };
        let response = self.client.record_usage(request).await?;
        self.stand_on(&sent, response.branch.as_ref());
        Ok(response)
    }

    /// The turns of the current branch with all their items; see [`Client::stream_turns`].
    pub fn stream_turns(&self) -> Responses<StreamTurnsResponse> {
        self.client.stream_turns(StreamTurnsRequest {
            session_id: self.session_id.clone(),
            branch: Some(self.branch()),
            ..StreamTurnsRequest::default()
        })
    }

    /// The current branch and every change of it; see [`Client::watch`].
    pub fn watch(&self) -> Responses<WatchResponse> {
        self.client.watch(WatchRequest {
            session_id: self.session_id.clone(),
            branch: Some(self.branch()),
            ..WatchRequest::default()
        })
    }

    async fn add(&self, items: Vec<Vec<u8>>, natives: Vec<NativeItem>) -> Result<AddItemsResponse, Error> {
        let sent = self.branch();
        let request = AddItemsRequest {
            session_id: self.session_id.clone(),
            branch: Some(sent.clone()),
            items,
            natives,
            ..AddItemsRequest::default()
        };
        let response = self.client.add_items(request).await?;
        self.stand_on(&sent, response.branch.as_ref());
        Ok(response)
    }

    async fn read(&self, native_dialect: Option<String>) -> Result<Vec<ItemWithNative>, Error> {
        let mut sent = self.branch();
        let request = StreamItemsRequest {
            session_id: self.session_id.clone(),
            branch: Some(sent.clone()),
            native_dialect,
            ..StreamItemsRequest::default()
        };
        let mut items: Vec<ItemWithNative> = Vec::new();
        let mut deltas = self.client.stream_items(request);
        while let Some(response) = deltas.try_next().await? {
            let delta = response.delta.unwrap_or_default();
            if delta.kind() == DeltaKind::Replaced {
                items.clear();
            }
            let begin = items.len();
            items.extend(delta.items.into_iter().map(|item| ItemWithNative { item, native: None }));
            for NativeItem { index, native, .. } in delta.natives {
                let item = usize::try_from(index).ok().and_then(|index| items.get_mut(begin + index));
                if let Some(item) = item {
                    item.native = Some(native);
                }
            }
            self.stand_on(&sent, delta.branch.as_ref());
            sent = delta.branch.unwrap_or(sent);
        }
        Ok(items)
    }

    fn lock(&self) -> MutexGuard<'_, BranchPointer> {
        self.branch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn go_to(&self, branch: &Branch) {
        *self.lock() = BranchPointer { branch_id: branch.branch_id.clone(), generation: Some(branch.generation) };
    }

    /// Stands where the server says a call was made, unless the handle has gone elsewhere since.
    fn stand_on(&self, sent: &BranchPointer, answered: Option<&BranchPointer>) {
        let mut branch = self.lock();
        if let Some(answered) = answered
            && *branch == *sent
        {
            answered.clone_into(&mut branch);
        }
    }
}
