//! Lists as a stream over all their pages.

use std::future::Future;

use async_stream::try_stream;

use crate::client::Client;
use crate::error::Error;
use crate::responses::Responses;
use crate::v1::*;

/// A request whose answer comes in pages; see [`Client::pages`]. Only the requests of this crate are.
pub trait Paged: sealed::Page + Clone + Send + 'static {}

mod sealed {
    use super::{Client, Error, Future};

    pub trait Page: Sized {
        type Response: Send + 'static;

        fn fetch(self, client: &Client) -> impl Future<Output = Result<Self::Response, Error>> + Send;
        fn set_page_token(&mut self, page_token: String);
        fn next_page_token(response: &Self::Response) -> &str;
    }
}

macro_rules! paged {
    ($($request:ident by $method:ident -> $response:ident;)*) => {$(
        impl Paged for $request {}

        impl sealed::Page for $request {
            type Response = $response;

            async fn fetch(self, client: &Client) -> Result<$response, Error> {
                client.$method(self).await
            }

            fn set_page_token(&mut self, page_token: String) {
                self.page_token = page_token;
            }

            fn next_page_token(response: &$response) -> &str {
                &response.next_page_token
            }
        }
    )*};
}

paged! {
    ListSessionsRequest by list_sessions -> ListSessionsResponse;
    ListBranchesRequest by list_branches -> ListBranchesResponse;
    ListTurnsRequest by list_turns -> ListTurnsResponse;
    SearchTurnsRequest by search_turns -> SearchTurnsResponse;
    GetConversationByTurnsRequest by get_conversation_by_turns -> GetConversationByTurnsResponse;
    ListToolUsageRequest by list_tool_usage -> ListToolUsageResponse;
    ListTurnUsageRequest by list_turn_usage -> ListTurnUsageResponse;
    SummarizeUsageRequest by summarize_usage -> SummarizeUsageResponse;
}

impl Client {
    /// All pages of a list, each fetched when the one before was taken.
    ///
    /// Each page is a call of its own, with its own deadline and retries. After an error there are no more.
    pub fn pages<P: Paged>(&self, request: P) -> Responses<P::Response> {
        let client = self.clone();
        Responses::new(try_stream! {
            let mut request = request;
            loop {
                let page = request.clone().fetch(&client).await?;
                let next = P::next_page_token(&page).to_owned();
                yield page;
                if next.is_empty() {
                    return;
                }
                request.set_page_token(next);
            }
        })
    }
}
