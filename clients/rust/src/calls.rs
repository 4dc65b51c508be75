//! The calls that have one answer, one method for each.

use prost::Message;
use tonic::transport::Channel;
use uuid::Uuid;

use crate::client::Client;
use crate::error::Error;
use crate::pipeline_v1::pipeline_call::Request as Call;
use crate::pipeline_v1::pipeline_reply::Response as Reply;
use crate::v1::branch_service_client::BranchServiceClient;
use crate::v1::session_service_client::SessionServiceClient;
use crate::v1::turn_service_client::TurnServiceClient;
use crate::v1::usage_service_client::UsageServiceClient;
use crate::v1::*;

/// Gives a mutation without a name one of its own: a UUID that rises with time.
fn named(request_id: String) -> String {
    if request_id.is_empty() { Uuid::now_v7().to_string() } else { request_id }
}

/// A stub that takes messages of any size: the server has its own limits, and says what they are.
macro_rules! stub {
    ($stub:ident, $channel:expr) => {
        $stub::new($channel).max_decoding_message_size(usize::MAX).max_encoding_message_size(usize::MAX)
    };
}
pub(crate) use stub;

/// A request that may travel on the pipeline.
pub(crate) trait Pipelined: Message + Clone {
    type Response;

    /// The request as one of the calls of the pipeline.
    fn into_call(self) -> Call;

    /// The response in a reply; `None` when the reply is another one.
    fn response(reply: Reply) -> Option<Self::Response>;
}

/// Writes the methods of a service, each with its name on the pipeline; `mutates by request_id` for those that need a
/// name of their own.
macro_rules! calls {
    ($stub:ident: $(
        $(#[$doc:meta])*
        $method:ident($request:ty) -> $response:ty as $name:ident $(, mutates by $id:ident)?;
    )*) => {
        $(
            impl Pipelined for $request {
                type Response = $response;

                fn into_call(self) -> Call {
                    Call::$name(self)
                }

                fn response(reply: Reply) -> Option<$response> {
                    match reply {
                        Reply::$name(response) => Some(response),
                        _ => None,
                    }
                }
            }
        )*

        impl Client {
            $(
                $(#[$doc])*
                ///
                /// # Errors
                ///
                #[doc = concat!("See [`Client`](Self#errors) and [the call](", stringify!($stub), "::", stringify!($method), ").")]
                #[allow(unused_mut)]
                pub async fn $method(&self, mut request: $request) -> Result<$response, Error> {
                    $(request.$id = named(request.$id);)?
                    let send = |channel: Channel, request| async move { stub!($stub, channel).$method(request).await };
                    self.call(request, send).await
                }
            )*
        }
    };
}

calls! { SessionServiceClient:
    /// Appends items to a branch, in order, after all that is there: all of them or none.
    add_items(AddItemsRequest) -> AddItemsResponse as AddItems, mutates by request_id;
    /// Reads a branch, or what of it is new to the caller, in parts of about 1 MiB.
    get_items(GetItemsRequest) -> GetItemsResponse as GetItems;
    /// Removes the newest item of a branch and returns it.
    pop_item(PopItemRequest) -> PopItemResponse as PopItem, mutates by request_id;
    /// Replaces the newest items of a branch by others, if the branch is exactly what the caller believes it to be.
    replace_items(ReplaceItemsRequest) -> ReplaceItemsResponse as ReplaceItems, mutates by request_id;
    /// Removes every item, branch and usage figure of a session; labels and expiry stay.
    clear_session(ClearSessionRequest) -> ClearSessionResponse as ClearSession, mutates by request_id;
    /// Describes one session.
    get_session(GetSessionRequest) -> GetSessionResponse as GetSession;
    /// Lists sessions, the last active first: one page. [`pages`](Self::pages) reads them all.
    list_sessions(ListSessionsRequest) -> ListSessionsResponse as ListSessions;
    /// Sets and removes labels of a session and its expiry, and creates the session if it does not exist.
    update_session(UpdateSessionRequest) -> UpdateSessionResponse as UpdateSession, mutates by request_id;
    /// Removes a session with all that belongs to it.
    delete_session(DeleteSessionRequest) -> DeleteSessionResponse as DeleteSession, mutates by request_id;
}

calls! { BranchServiceClient:
    /// Forks a branch: the new one shows the source's items up to the chosen point, then goes its own way.
    create_branch(CreateBranchRequest) -> CreateBranchResponse as CreateBranch, mutates by request_id;
    /// Describes one branch.
    get_branch(GetBranchRequest) -> GetBranchResponse as GetBranch;
    /// Lists the branches that hold items, the oldest first: one page. [`pages`](Self::pages) reads them all.
    list_branches(ListBranchesRequest) -> ListBranchesResponse as ListBranches;
    /// Removes a branch with its usage, and every item that no other branch shows. Its id stays reserved.
    delete_branch(DeleteBranchRequest) -> DeleteBranchResponse as DeleteBranch, mutates by request_id;
    /// Finds what two branches share and where they part.
    compare_branches(CompareBranchesRequest) -> CompareBranchesResponse as CompareBranches;
}

calls! { TurnServiceClient:
    /// Lists the turns of a branch by their user items: one page, see [`TurnColumns::into_rows`].
    /// [`pages`](Self::pages) reads them all.
    list_turns(ListTurnsRequest) -> ListTurnsResponse as ListTurns;
    /// Finds the turns whose user item contains a text: one page, see [`TurnColumns::into_rows`].
    /// [`pages`](Self::pages) reads them all.
    search_turns(SearchTurnsRequest) -> SearchTurnsResponse as SearchTurns;
    /// Outlines a branch by the types and tools of its items: one page, see [`ItemMetadataColumns::into_rows`].
    /// [`pages`](Self::pages) reads them all.
    get_conversation_by_turns(GetConversationByTurnsRequest) -> GetConversationByTurnsResponse as GetConversationByTurns;
    /// Counts tool calls by turn and tool: one page, see [`ToolUsageColumns::into_rows`].
    /// [`pages`](Self::pages) reads them all.
    list_tool_usage(ListToolUsageRequest) -> ListToolUsageResponse as ListToolUsage;
}

calls! { UsageServiceClient:
    /// Records the usage of a branch's current turn, the one its last item belongs to.
    record_usage(RecordUsageRequest) -> RecordUsageResponse as RecordUsage, mutates by request_id;
    /// Adds up the usage of a session, or of one of its branches.
    get_session_usage(GetSessionUsageRequest) -> GetSessionUsageResponse as GetSessionUsage;
    /// Lists usage by turn, with its JSON details: one page. [`pages`](Self::pages) reads them all.
    list_turn_usage(ListTurnUsageRequest) -> ListTurnUsageResponse as ListTurnUsage;
    /// Adds up usage over sessions, in groups: one page. [`pages`](Self::pages) reads them all.
    summarize_usage(SummarizeUsageRequest) -> SummarizeUsageResponse as SummarizeUsage;
}
