//! From the name of a call to a method of the client.

use std::pin::Pin;

use serde_json::Value;
use turntree::{Client, Error, Responses};

use crate::json::Protos;

/// What a call gives: one answer, or a stream of them.
pub enum Outcome {
    Answer(Result<Value, Error>),
    Answers(Answers),
}

/// The answers of a stream, one after another.
pub struct Answers(Box<dyn Next>);

impl Answers {
    pub async fn next(&mut self) -> Result<Option<Value>, Error> {
        self.0.next().await
    }
}

type NextAnswer<'a> = Pin<Box<dyn Future<Output = Result<Option<Value>, Error>> + 'a>>;

trait Next {
    fn next(&mut self) -> NextAnswer<'_>;
}

struct Written<T, W> {
    responses: Responses<T>,
    write: W,
}

impl<T, W: Fn(&T) -> Value> Next for Written<T, W> {
    fn next(&mut self) -> NextAnswer<'_> {
        Box::pin(async { Ok(self.responses.try_next().await?.as_ref().map(&self.write)) })
    }
}

macro_rules! calls {
    (
        unary: $($name:literal => $method:ident($request:ident) -> $response:ident;)*
        streams: $($stream_name:literal => $stream:ident($stream_request:ident) -> $stream_response:ident;)*
    ) => {
        /// Makes a call by its name.
        pub async fn call(client: &Client, protos: &Protos, name: &str, request: Value) -> Result<Outcome, String> {
            match name {
                $($name => {
                    let request: turntree::v1::$request = protos.read(stringify!($request), request)?;
                    let response = client.$method(request).await;
                    Ok(Outcome::Answer(response.map(|response| protos.write(stringify!($response), &response))))
                })*
                $($stream_name => {
                    let request: turntree::v1::$stream_request = protos.read(stringify!($stream_request), request)?;
                    let protos = protos.clone();
                    let write = move |response: &turntree::v1::$stream_response| {
                        protos.write(stringify!($stream_response), response)
                    };
                    Ok(Outcome::Answers(Answers(Box::new(Written { responses: client.$stream(request), write }))))
                })*
                _ => Err(format!("there is no call {name}")),
            }
        }
    };
}

calls! {
    unary:
    "SessionService/AddItems" => add_items(AddItemsRequest) -> AddItemsResponse;
    "SessionService/GetItems" => get_items(GetItemsRequest) -> GetItemsResponse;
    "SessionService/PopItem" => pop_item(PopItemRequest) -> PopItemResponse;
    "SessionService/ReplaceItems" => replace_items(ReplaceItemsRequest) -> ReplaceItemsResponse;
    "SessionService/ClearSession" => clear_session(ClearSessionRequest) -> ClearSessionResponse;
    "SessionService/GetSession" => get_session(GetSessionRequest) -> GetSessionResponse;
    "SessionService/ListSessions" => list_sessions(ListSessionsRequest) -> ListSessionsResponse;
    "SessionService/UpdateSession" => update_session(UpdateSessionRequest) -> UpdateSessionResponse;
    "SessionService/DeleteSession" => delete_session(DeleteSessionRequest) -> DeleteSessionResponse;
    "BranchService/CreateBranch" => create_branch(CreateBranchRequest) -> CreateBranchResponse;
    "BranchService/GetBranch" => get_branch(GetBranchRequest) -> GetBranchResponse;
    "BranchService/ListBranches" => list_branches(ListBranchesRequest) -> ListBranchesResponse;
    "BranchService/DeleteBranch" => delete_branch(DeleteBranchRequest) -> DeleteBranchResponse;
    "BranchService/CompareBranches" => compare_branches(CompareBranchesRequest) -> CompareBranchesResponse;
    "TurnService/ListTurns" => list_turns(ListTurnsRequest) -> ListTurnsResponse;
    "TurnService/SearchTurns" => search_turns(SearchTurnsRequest) -> SearchTurnsResponse;
    "TurnService/GetConversationByTurns" =>
        get_conversation_by_turns(GetConversationByTurnsRequest) -> GetConversationByTurnsResponse;
    "TurnService/ListToolUsage" => list_tool_usage(ListToolUsageRequest) -> ListToolUsageResponse;
    "UsageService/RecordUsage" => record_usage(RecordUsageRequest) -> RecordUsageResponse;
    "UsageService/GetSessionUsage" => get_session_usage(GetSessionUsageRequest) -> GetSessionUsageResponse;
    "UsageService/ListTurnUsage" => list_turn_usage(ListTurnUsageRequest) -> ListTurnUsageResponse;
    "UsageService/SummarizeUsage" => summarize_usage(SummarizeUsageRequest) -> SummarizeUsageResponse;
    streams:
    "SessionService/StreamItems" => stream_items(StreamItemsRequest) -> StreamItemsResponse;
    "SessionService/Watch" => watch(WatchRequest) -> WatchResponse;
    "TurnService/StreamTurns" => stream_turns(StreamTurnsRequest) -> StreamTurnsResponse;
}
