//! Streams that go on where they were cut.

use std::future::Future;

use async_stream::try_stream;
use tonic::transport::Channel;
use tonic::{Request, Response, Status, Streaming};

use crate::calls::stub;
use crate::client::Client;
use crate::error::Error;
use crate::responses::Responses;
use crate::seen_turns::SeenTurns;
use crate::v1::session_service_client::SessionServiceClient;
use crate::v1::turn_service_client::TurnServiceClient;
use crate::v1::*;

impl Client {
    /// Reads a branch of any length in parts of about 1 MiB, each with the cursor that resumes after it.
    ///
    /// When it is cut, it goes on by itself after the last part. Apply the parts in the order they come, as the docs of
    /// [`ItemsDelta`] say.
    pub fn stream_items(&self, request: StreamItemsRequest) -> Responses<StreamItemsResponse> {
        let send =
            |channel: Channel, request| async move { stub!(SessionServiceClient, channel).stream_items(request).await };
        self.resuming(ItemsReader { request, more: true }, send)
    }

    /// Reads the turns of a branch with all their items, oldest first.
    ///
    /// When it is cut, it goes on by itself with nothing twice and nothing left out. When that is not possible, because
    /// the turn that was last has changed meanwhile, it fails with what cut it, and is to be begun again.
    pub fn stream_turns(&self, request: StreamTurnsRequest) -> Responses<StreamTurnsResponse> {
        let send =
            |channel: Channel, request| async move { stub!(TurnServiceClient, channel).stream_turns(request).await };
        self.resuming(TurnsReader { request, seen: SeenTurns::default() }, send)
    }

    /// Follows a branch: its state by cursor first, then a delta for every change.
    ///
    /// It never ends. Once it has begun, it goes on by itself whenever it is cut, however long the server is away, and
    /// reports no change twice. It fails when the server refuses it.
    pub fn watch(&self, request: WatchRequest) -> Responses<WatchResponse> {
        let send = |channel: Channel, request| async move { stub!(SessionServiceClient, channel).watch(request).await };
        self.resuming(Watcher { request, begun: false, resumed: false }, send)
    }

    /// Reads a stream to its end, and asks for the rest of it when it is cut.
    fn resuming<R, F, Fut>(&self, mut reader: R, send: F) -> Responses<R::Response>
    where
        R: Reader,
        F: Fn(Channel, Request<R::Request>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Response<Streaming<R::Response>>, Status>> + Send,
    {
        let client = self.clone();
        Responses::new(try_stream! {
            let mut retries = client.stream_retries();
            let mut cut: Option<Error> = None;
            loop {
                let lost = match client.attempt(reader.request(), None, &send).await {
                    Err(error) => error,
                    Ok(mut stream) => loop {
                        match stream.message().await {
                            Ok(Some(response)) => match reader.take(response) {
                                Taken::News(response) => {
                                    retries.succeeded();
                                    if R::IS_ENDLESS {
                                        retries.never_give_up();
                                    }
                                    yield response;
                                }
                                Taken::Known => retries.succeeded(),
                                Taken::Stale(response) => yield response,
                                Taken::Broken => {
                                    Err(cut.take().unwrap_or_else(|| Error::ended(client.target())))?;
                                }
                            },
                            Ok(None) if R::IS_ENDLESS => break Error::ended(client.target()),
                            Ok(None) => return,
                            Err(status) => break client.error(&status),
                        }
                    },
                };
                if lost.retry_delay().is_some() && reader.is_complete() {
                    return;
                }
                cut = Some(lost.clone());
                retries.pause(lost).await?;
                reader.resume();
            }
        })
    }
}

/// What a response is to the reader of a stream.
enum Taken<T> {
    /// It brings the reader on.
    News(T),
    /// It is the reader's, but brings it no further.
    Stale(T),
    /// The reader has it already.
    Known,
    /// The stream cannot go on with it.
    Broken,
}

/// What is known of a stream: enough to ask for the rest of it.
trait Reader: Send + 'static {
    type Request: Send + 'static;
    type Response: Send + 'static;

    /// Whether the stream has no end.
    const IS_ENDLESS: bool = false;

    /// Asks for what was not read yet.
    fn request(&self) -> Self::Request;

    /// Notes a response.
    fn take(&mut self, response: Self::Response) -> Taken<Self::Response>;

    /// Notes that the stream was cut, and that what comes next is of a new one.
    fn resume(&mut self) {}

    /// Whether all was read, even if the end of the stream did not come.
    fn is_complete(&self) -> bool {
        false
    }
}

struct ItemsReader {
    request: StreamItemsRequest,
    more: bool,
}

impl Reader for ItemsReader {
    type Request = StreamItemsRequest;
    type Response = StreamItemsResponse;

    fn request(&self) -> StreamItemsRequest {
        self.request.clone()
    }

    fn take(&mut self, response: StreamItemsResponse) -> Taken<StreamItemsResponse> {
        let Some(delta) = &response.delta else { return Taken::Stale(response) };
        let is_news = self.request.cursor.as_ref() != Some(&delta.cursor);
        self.request.cursor = Some(delta.cursor.clone());
        self.request.branch.clone_from(&delta.branch);
        self.more = delta.more;
        if is_news { Taken::News(response) } else { Taken::Stale(response) }
    }

    fn is_complete(&self) -> bool {
        !self.more
    }
}

struct TurnsReader {
    request: StreamTurnsRequest,
    seen: SeenTurns,
}

impl Reader for TurnsReader {
    type Request = StreamTurnsRequest;
    type Response = StreamTurnsResponse;

    fn request(&self) -> StreamTurnsRequest {
        self.request.clone()
    }

    fn take(&mut self, response: StreamTurnsResponse) -> Taken<StreamTurnsResponse> {
        let Some(response) = self.seen.take(response) else { return Taken::Broken };
        let is_news = self.request.cursor.as_ref() != Some(&response.cursor);
        self.request.cursor = Some(response.cursor.clone());
        self.request.branch.clone_from(&response.branch);
        if is_news { Taken::News(response) } else { Taken::Stale(response) }
    }

    fn resume(&mut self) {
        self.seen.resume();
    }
}

struct Watcher {
    request: WatchRequest,
    begun: bool,
    resumed: bool,
}

impl Reader for Watcher {
    type Request = WatchRequest;
    type Response = WatchResponse;

    const IS_ENDLESS: bool = true;

    fn request(&self) -> WatchRequest {
        self.request.clone()
    }

    fn take(&mut self, response: WatchResponse) -> Taken<WatchResponse> {
        let Some(delta) = &response.delta else { return Taken::Stale(response) };
        let is_known = self.resumed && delta.kind() == DeltaKind::Unchanged && delta.branch == self.request.branch;
        self.request.cursor = Some(delta.cursor.clone());
        self.request.branch.clone_from(&delta.branch);
        self.begun = true;
        self.resumed = false;
        if is_known { Taken::Known } else { Taken::News(response) }
    }

    fn resume(&mut self) {
        self.resumed = self.begun;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unchanged(branch: &BranchPointer) -> WatchResponse {
        let kind = DeltaKind::Unchanged.into();
        let delta = ItemsDelta { kind, cursor: b"c".to_vec(), branch: Some(branch.clone()), ..ItemsDelta::default() };
        WatchResponse { delta: Some(delta) }
    }

    /// A watch that goes on leaves out that nothing has changed; one that begins says so, also after tries in vain.
    #[test]
    fn nothing_new() {
        let branch = BranchPointer { branch_id: "main".to_owned(), generation: Some(1) };
        let cursor = Some(b"c".to_vec());
        let request = WatchRequest { branch: Some(branch.clone()), cursor, ..WatchRequest::default() };
        let mut watching = Watcher { request, begun: false, resumed: false };
        watching.resume();
        assert!(matches!(watching.take(unchanged(&branch)), Taken::News(_)));
        watching.resume();
        assert!(matches!(watching.take(unchanged(&branch)), Taken::Known));
    }
}
