//! The calls of a client on a real server.

mod common;

use common::*;
use turntree::v1::create_branch_request::Origin;
use turntree::v1::*;
use turntree::{Client, Code};

fn session_id() -> String {
    SESSION.to_owned()
}

/// Every call of `SessionService` does what its proto says.
#[tokio::test]
async fn session_service() {
    let (_server, client) = serving().await;
    let added = client.add_items(add(vec![user("one"), assistant("1")])).await.unwrap();
    assert_eq!((added.turn, added.branch.as_ref().unwrap().branch_id.as_str()), (1, "main"));

    let request = GetItemsRequest {
        session_id: session_id(),
        cursor: Some(added.previous_cursor),
        include_metadata: true,
        ..GetItemsRequest::default()
    };
    let delta = client.get_items(request).await.unwrap().delta.unwrap();
    assert_eq!((delta.kind(), &delta.items), (DeltaKind::Appended, &vec![user("one"), assistant("1")]));
    assert_eq!(delta.metadata[1].r#type, "assistant");
    assert_eq!(delta.cursor, added.cursor);

    let replace = ReplaceItemsRequest {
        session_id: session_id(),
        remove_count: 1,
        items: vec![assistant("I"), assistant("II")],
        expected_cursor: delta.cursor,
        ..ReplaceItemsRequest::default()
    };
    client.replace_items(replace).await.unwrap();
    let pop = PopItemRequest { session_id: session_id(), ..PopItemRequest::default() };
    assert_eq!(client.pop_item(pop).await.unwrap().item, Some(assistant("II")));
    assert_eq!(all_items(&client).await.unwrap(), [user("one"), assistant("I")]);

    let update = UpdateSessionRequest {
        session_id: session_id(),
        labels: [("team".to_owned(), "blue".to_owned())].into(),
        ..UpdateSessionRequest::default()
    };
    assert_eq!(client.update_session(update).await.unwrap().session.unwrap().labels["team"], "blue");
    let get = GetSessionRequest { session_id: session_id() };
    assert_eq!(client.get_session(get.clone()).await.unwrap().session.unwrap().session_id, SESSION);
    let list = ListSessionsRequest {
        labels: [("team".to_owned(), "blue".to_owned())].into(),
        ..ListSessionsRequest::default()
    };
    assert_eq!(client.list_sessions(list).await.unwrap().sessions.len(), 1);

    let clear = ClearSessionRequest { session_id: session_id(), ..ClearSessionRequest::default() };
    assert_eq!(client.clear_session(clear).await.unwrap().branch.unwrap().generation, Some(1));
    let delete = DeleteSessionRequest { session_id: session_id(), ..DeleteSessionRequest::default() };
    client.delete_session(delete).await.unwrap();
    assert_eq!(client.get_session(get).await.unwrap_err().code(), Code::NotFound);
}

/// Every call of `BranchService` does what its proto says.
#[tokio::test]
async fn branch_service() {
    let (_server, client) = serving().await;
    client.add_items(add(vec![user("one"), assistant("1"), user("two")])).await.unwrap();
    let create = CreateBranchRequest {
        session_id: session_id(),
        origin: Some(Origin::AfterTurn(1)),
        new_branch_id: Some("other".to_owned()),
        ..CreateBranchRequest::default()
    };
    assert_eq!(client.create_branch(create).await.unwrap().branch.unwrap().item_count, 2);
    let get = GetBranchRequest { session_id: session_id(), branch_id: "other".to_owned() };
    let branch = client.get_branch(get).await.unwrap().branch.unwrap();
    assert_eq!((branch.source_branch_id.as_deref(), branch.fork_turn), (Some("main"), Some(1)));
    let list = ListBranchesRequest { session_id: session_id(), ..ListBranchesRequest::default() };
    assert_eq!(client.list_branches(list).await.unwrap().branches.len(), 2);
    let compare = CompareBranchesRequest {
        session_id: session_id(),
        branch_id: "main".to_owned(),
        other_branch_id: "other".to_owned(),
    };
    let comparison = client.compare_branches(compare).await.unwrap();
    assert_eq!((comparison.common_item_count, comparison.difference.unwrap().item_count), (2, 1));
    let delete = DeleteBranchRequest {
        session_id: session_id(),
        branch_id: "other".to_owned(),
        ..DeleteBranchRequest::default()
    };
    let deleted = client.delete_branch(delete).await.unwrap();
    assert_eq!((deleted.item_count, deleted.orphan_count), (2, 0));
}

/// Every call of `TurnService` and `UsageService` does what its proto says, and every list comes in pages.
#[tokio::test]
async fn turns_usage_and_pages() {
    let (_server, client) = serving().await;
    let call = br#"{"type": "function_call", "call_id": "c", "name": "weather", "arguments": "{}"}"#.to_vec();
    for turn in 1..=3 {
        client.add_items(add(vec![user(&format!("question {turn}")), call.clone()])).await.unwrap();
        let usage = Usage { requests: 1, input_tokens: 10 * turn, total_tokens: 10 * turn, ..Usage::default() };
        let record =
            RecordUsageRequest { session_id: session_id(), usage: Some(usage), ..RecordUsageRequest::default() };
        assert_eq!(client.record_usage(record).await.unwrap().turn, turn);
    }
    let total = GetSessionUsageRequest { session_id: session_id(), branch_id: None };
    assert_eq!(client.get_session_usage(total).await.unwrap().total.unwrap().total_tokens, 60);

    macro_rules! in_pages_of_two {
        ($request:expr, $count:expr) => {{
            let mut pages = client.pages($request);
            let mut counts = Vec::new();
            while let Some(page) = pages.try_next().await.unwrap() {
                counts.push($count(page));
            }
            assert_eq!(counts, [2, 1], stringify!($request));
        }};
    }
    let list = ListTurnsRequest { session_id: session_id(), page_size: 2, ..ListTurnsRequest::default() };
    in_pages_of_two!(list, |page: ListTurnsResponse| page.turns.unwrap().turns.len());
    let search = SearchTurnsRequest {
        session_id: session_id(),
        content: "QUESTION".to_owned(),
        page_size: 2,
        ..SearchTurnsRequest::default()
    };
    in_pages_of_two!(search, |page: SearchTurnsResponse| page.turns.unwrap().turns.len());
    let tools = ListToolUsageRequest { session_id: session_id(), page_size: 2, ..ListToolUsageRequest::default() };
    in_pages_of_two!(tools, |page: ListToolUsageResponse| page.tools.unwrap().turns.len());
    let usage = ListTurnUsageRequest { session_id: session_id(), page_size: 2, ..ListTurnUsageRequest::default() };
    in_pages_of_two!(usage, |page: ListTurnUsageResponse| page.turns.len());

    let outline = GetConversationByTurnsRequest {
        session_id: session_id(),
        page_size: 4,
        ..GetConversationByTurnsRequest::default()
    };
    in_pages_of_two!(outline, |page: GetConversationByTurnsResponse| page.items.unwrap().turns.len() / 2);
    for branch in ["b", "c"] {
        let create = CreateBranchRequest {
            session_id: session_id(),
            origin: Some(Origin::Head(Head {})),
            new_branch_id: Some(branch.to_owned()),
            ..CreateBranchRequest::default()
        };
        client.create_branch(create).await.unwrap();
        let update = UpdateSessionRequest { session_id: branch.to_owned(), ..UpdateSessionRequest::default() };
        client.update_session(update).await.unwrap();
        client.session(branch).add_items(vec![user("x")]).await.unwrap();
        client.session(branch).record_usage(Usage { requests: 1, ..Usage::default() }).await.unwrap();
    }
    let branches = ListBranchesRequest { session_id: session_id(), page_size: 2, ..ListBranchesRequest::default() };
    in_pages_of_two!(branches, |page: ListBranchesResponse| page.branches.len());
    let sessions = ListSessionsRequest { page_size: 2, ..ListSessionsRequest::default() };
    in_pages_of_two!(sessions, |page: ListSessionsResponse| page.sessions.len());
    let summary = SummarizeUsageRequest {
        grouping: UsageGrouping::Session.into(),
        page_size: 2,
        ..SummarizeUsageRequest::default()
    };
    in_pages_of_two!(summary, |page: SummarizeUsageResponse| page.summaries.len());
}

/// An error has the server's code, reason, facts and message.
#[tokio::test]
async fn typed_errors() {
    let (_server, client) = serving().await;
    let get = GetSessionRequest { session_id: session_id() };
    let error = client.get_session(get).await.unwrap_err();
    assert_eq!((error.code(), error.reason()), (Code::NotFound, ErrorReason::SessionNotFound));
    assert_eq!(error.fact("session_id"), Some(SESSION));

    let error = client.add_items(AddItemsRequest::default()).await.unwrap_err();
    assert_eq!((error.code(), error.reason()), (Code::InvalidArgument, ErrorReason::FieldRequired));
    assert_eq!(error.fact("field"), Some("session_id"));

    let error = client.add_items(add(vec![b"no JSON".to_vec()])).await.unwrap_err();
    assert_eq!((error.reason(), error.fact("field")), (ErrorReason::ItemNotJson, Some("items[0]")));

    let first = client.add_items(add(vec![user("a")])).await.unwrap();
    client.add_items(add(vec![user("b")])).await.unwrap();
    let stale = AddItemsRequest { expected_cursor: Some(first.cursor), ..add(vec![user("c")]) };
    let error = client.add_items(stale).await.unwrap_err();
    assert_eq!((error.code(), error.reason()), (Code::Aborted, ErrorReason::CursorMismatch));

    let named = |text| AddItemsRequest { request_id: "r1".to_owned(), ..add(vec![user(text)]) };
    client.add_items(named("d")).await.unwrap();
    let error = client.add_items(named("e")).await.unwrap_err();
    assert_eq!((error.code(), error.reason()), (Code::FailedPrecondition, ErrorReason::RequestIdReused));
    let mut pages = client.pages(ListTurnsRequest { session_id: String::new(), ..ListTurnsRequest::default() });
    assert_eq!(pages.try_next().await.unwrap_err().reason(), ErrorReason::FieldRequired);
    assert_eq!(pages.try_next().await, Ok(None));
}

/// A mutation with a `request_id` of the caller's has one effect, however often it is sent.
#[tokio::test]
async fn own_request_ids() {
    let (_server, client) = serving().await;
    let request = AddItemsRequest { request_id: "r1".to_owned(), ..add(vec![user("once")]) };
    let first = client.add_items(request.clone()).await.unwrap();
    assert_eq!(client.add_items(request).await.unwrap(), first);
    assert_eq!(all_items(&client).await.unwrap().len(), 1);
}

/// Items come back byte for byte: numbers beyond 2^53, Unicode, escapes and white space.
#[tokio::test]
async fn byte_for_byte() {
    let (_server, client) = serving().await;
    let items: Vec<Vec<u8>> = [
        r#"{"role":"user","content":"x","n":9007199254740993,"big":123456789012345678901234567890,"f":1.10}"#,
        r#"{ "role" : "user",  "content":"Zürich 東京 🏔️ e\u0301 \ud83d\ude00 \/" }"#,
        "{\"role\":\"user\",\n\t\"content\":\"\u{2028}\u{0}\"}".replace('\u{0}', "\\u0000").as_str(),
    ]
    .iter()
    .map(|item| item.as_bytes().to_vec())
    .collect();
    client.add_items(add(items.clone())).await.unwrap();
    assert_eq!(all_items(&client).await.unwrap(), items);
    let usage = Usage { total_tokens: i64::MAX, input_tokens: (1 << 53) + 1, ..Usage::default() };
    client.session(SESSION).record_usage(usage).await.unwrap();
    let request = GetSessionUsageRequest { session_id: session_id(), branch_id: None };
    let total = client.get_session_usage(request).await.unwrap().total.unwrap();
    assert_eq!((total.total_tokens, total.input_tokens), (i64::MAX, 9_007_199_254_740_993));
}

/// An item larger than gRPC's usual 4 MiB comes back by every way to read it.
#[tokio::test]
async fn large_items() {
    let (_server, client) = serving().await;
    let item = user(&"x".repeat(6 * 1024 * 1024));
    let expected = [item];
    client.add_items(add(expected.to_vec())).await.unwrap();
    let request = GetItemsRequest { session_id: session_id(), ..GetItemsRequest::default() };
    assert_eq!(client.get_items(request).await.unwrap().delta.unwrap().items, expected);
    assert_eq!(all_items(&client).await.unwrap(), expected);
    let turn = client.session(SESSION).stream_turns().try_next().await.unwrap().unwrap().turns.remove(0);
    assert_eq!(turn.items, expected);
    assert_eq!(client.session(SESSION).watch().try_next().await.unwrap().unwrap().delta.unwrap().items, expected);
}

/// A call without an answer in time fails with `DEADLINE_EXCEEDED`.
#[tokio::test]
async fn deadline() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let client = Client::connect(silent.local_addr().unwrap().to_string()).await.unwrap();
    let client = client.with_timeout(std::time::Duration::from_millis(200));
    let error = client.get_session(GetSessionRequest { session_id: session_id() }).await.unwrap_err();
    assert_eq!((error.code(), error.reason()), (Code::DeadlineExceeded, ErrorReason::DeadlineExceeded));
    assert!(error.message().contains("200ms"), "{error}");
}

/// Times without end are taken as no limit.
#[tokio::test]
async fn no_limits() {
    let server = turntree_testing::Server::start();
    let builder = Client::builder(server.address()).timeout(std::time::Duration::MAX);
    let client = builder.retry_for(std::time::Duration::MAX).connect().await.unwrap();
    client.add_items(add(vec![user("1")])).await.unwrap();
    assert_eq!(all_items(&client).await.unwrap(), [user("1")]);
}

/// A call whose future is dropped happens whole or not at all, and the connection serves on.
#[tokio::test]
async fn cancel() {
    let (_server, client) = serving().await;
    for round in 0..20 {
        let items = (0..50).map(|_| user(&round.to_string())).collect();
        let call = tokio::spawn({
            let client = client.clone();
            async move { client.add_items(add(items)).await }
        });
        tokio::time::sleep(std::time::Duration::from_micros(200 * round)).await;
        call.abort();
        let _ = call.await;
    }
    let mut watch = client.session(SESSION).watch();
    watch.try_next().await.unwrap();
    drop(watch);
    client.add_items(add(vec![user("last")])).await.unwrap();
    let items = all_items(&client).await.unwrap();
    assert_eq!(items.len() % 50, 1);
    for whole in items.chunks_exact(50) {
        assert!(whole.iter().all(|item| item == &whole[0]));
    }
}

/// A session's handle stays on its branch, and goes back to `main` when somebody clears the session.
#[tokio::test]
async fn session_handle() {
    let (_server, client) = serving().await;
    let session = client.session(SESSION);
    session.add_items(vec![user("one"), assistant("1")]).await.unwrap();
    session.create_branch(Origin::Turn(1), Some("again")).await.unwrap();
    session.add_items(vec![user("anew")]).await.unwrap();
    assert_eq!(session.items().await.unwrap(), [user("anew")]);
    assert_eq!(session.switch_to("main").await.unwrap().item_count, 2);
    assert_eq!(session.pop_item().await.unwrap(), Some(assistant("1")));
    assert_eq!(session.items().await.unwrap(), [user("one")]);
    let error = session.switch_to("nowhere").await.unwrap_err();
    assert_eq!((error.reason(), session.branch().branch_id.as_str()), (ErrorReason::BranchNotFound, "main"));

    session.switch_to("again").await.unwrap();
    client.session(SESSION).clear().await.unwrap();
    session.add_items(vec![user("fresh")]).await.unwrap();
    assert_eq!(session.branch(), BranchPointer { branch_id: "main".to_owned(), generation: Some(1) });
    assert_eq!(session.items().await.unwrap(), [user("fresh")]);
    let main = BranchPointer { branch_id: "main".to_owned(), generation: None };
    let by_name = GetItemsRequest { session_id: session_id(), branch: Some(main), ..GetItemsRequest::default() };
    assert_eq!(client.get_items(by_name).await.unwrap().delta.unwrap().items, [user("fresh")]);
    session.clear().await.unwrap();
    assert_eq!(session.pop_item().await.unwrap(), None);
    assert_eq!(session.branch().generation, Some(2));
}
