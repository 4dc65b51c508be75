//! The rows of what a real server answers in columns.

mod common;

use std::time::{Duration, SystemTime};

use common::*;
use turntree::v1::create_branch_request::Origin;
use turntree::v1::*;

fn assert_recent(written: SystemTime) {
    let now = SystemTime::now();
    let hour = Duration::from_hours(1);
    assert!(written > now - hour && written < now + hour, "{written:?}");
}

/// The turns of columns, which must be recent, without their times.
fn turns(columns: Option<TurnColumns>) -> Vec<(i64, String, Vec<u8>)> {
    let rows = columns.unwrap_or_default().into_rows().unwrap();
    for row in &rows {
        assert_recent(row.create_time);
    }
    rows.into_iter().map(|row| (row.turn, row.branch_id, row.user_item)).collect()
}

/// Turns, items and tools come from a server as rows: with the branch of each, and without a tool where there is none.
#[tokio::test]
async fn rows_of_a_server() {
    let (_server, client) = serving().await;
    let session = client.session(SESSION);
    let weather = br#"{"type": "function_call", "call_id": "1", "name": "weather", "arguments": "{}"}"#.to_vec();
    let unnamed = br#"{"type": "function_call", "call_id": "2", "arguments": "{}"}"#.to_vec();
    session.add_items(vec![assistant("Hello"), user("one"), weather, unnamed]).await.unwrap();
    session.create_branch(Origin::AfterTurn(1), Some("other")).await.unwrap();
    session.add_items(vec![user("two")]).await.unwrap();

    let session_id = SESSION.to_owned();
    let row = |turn, branch: &str, text| (turn, branch.to_owned(), user(text));
    let list = ListTurnsRequest {
        session_id: session_id.clone(),
        branch: Some(session.branch()),
        ..ListTurnsRequest::default()
    };
    let listed = turns(client.list_turns(list).await.unwrap().turns);
    assert_eq!(listed, [row(1, "other", "one"), row(2, "other", "two")]);
    let search =
        SearchTurnsRequest { session_id: session_id.clone(), all_branches: true, ..SearchTurnsRequest::default() };
    let found = turns(client.search_turns(search).await.unwrap().turns);
    assert_eq!(found, [row(1, "main", "one"), row(1, "other", "one"), row(2, "other", "two")]);
    let nobody = ListTurnsRequest { session_id: "nobody".to_owned(), ..ListTurnsRequest::default() };
    assert_eq!(turns(client.list_turns(nobody).await.unwrap().turns), []);

    let outline =
        GetConversationByTurnsRequest { session_id: session_id.clone(), ..GetConversationByTurnsRequest::default() };
    let outlined = client.get_conversation_by_turns(outline).await.unwrap();
    let items = outlined.items.unwrap_or_default().into_rows().unwrap();
    for row in &items {
        assert_recent(row.create_time);
    }
    let items: Vec<_> = items.iter().map(|row| (row.r#type.as_str(), row.tool_name.as_deref(), row.turn)).collect();
    let expected =
        [("assistant", None, 0), ("user", None, 1), ("function_call", Some("weather"), 1), ("function_call", None, 1)];
    assert_eq!(items, expected);

    let usage = ListToolUsageRequest { session_id, ..ListToolUsageRequest::default() };
    let used = client.list_tool_usage(usage).await.unwrap();
    let tools = used.tools.unwrap_or_default().into_rows().unwrap();
    let tools: Vec<_> = tools.iter().map(|row| (row.tool_name.as_deref(), row.call_count, row.turn)).collect();
    assert_eq!(tools, [(None, 1, 1), (Some("weather"), 1, 1)]);
}
