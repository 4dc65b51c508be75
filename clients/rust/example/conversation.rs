//! A conversation stored, branched, streamed and accounted for.
//!
//! With a server at `localhost:50051`: `cargo run --example conversation`; or name its address behind `--`.

use std::collections::HashMap;
use std::env;
use std::fmt::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use turntree::v1::create_branch_request::Origin;
use turntree::v1::{DeltaKind, GetSessionUsageRequest, ListTurnUsageRequest, Usage, WatchResponse};
use turntree::{Client, Responses, SessionHandle};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

#[tokio::main]
async fn main() -> Result<()> {
    let url = env::args().nth(1).unwrap_or_else(|| "localhost:50051".to_owned());
    let client = Client::connect(url).await?;
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    print!("{}", converse(&client, &format!("example {seconds}")).await?);
    Ok(())
}

/// Tells the whole story, from top to bottom, and returns what there is to see.
///
/// # Errors
///
/// Those of the client.
pub async fn converse(client: &Client, session_id: &str) -> Result<String> {
    let mut out = String::new();
    let session = client.session(session_id);

    // Another part of the program follows the conversation while it happens.
    let mut changes = session.watch();
    observe(&mut changes, &mut out).await?;
    say(&session, "Which city has the Golden Gate Bridge?", "San Francisco.", 56).await?;
    observe(&mut changes, &mut out).await?;
    say(&session, "Which state is it in?", "California.", 81).await?;
    observe(&mut changes, &mut out).await?;

    // What if? A branch before turn 2 goes another way; `main` stays as it is.
    session.create_branch(Origin::Turn(2), Some("shorter")).await?;
    say(&session, "Say it in two letters.", "SF", 70).await?;

    for branch_id in ["main", "shorter"] {
        session.switch_to(branch_id).await?;
        let tokens = tokens_by_turn(client, &session).await?;
        let mut turns = session.stream_turns();
        while let Some(part) = turns.try_next().await? {
            for turn in part.turns {
                let question: Value = serde_json::from_slice(turn.user_item())?;
                let text = question["content"].as_str().unwrap_or_default();
                let spent = tokens.get(&turn.turn).map_or("-".to_owned(), i64::to_string);
                writeln!(out, "{branch_id:8}  turn {}  {text}  {spent} tokens", turn.turn)?;
            }
        }
    }

    let request = GetSessionUsageRequest { session_id: session.session_id().to_owned(), branch_id: None };
    let total = client.get_session_usage(request).await?.total.unwrap_or_default();
    writeln!(out, "all branches: {} requests, {} tokens", total.requests, total.total_tokens)?;
    Ok(out)
}

/// Stores a question with its answer, as an agent would after a run, and what it cost.
async fn say(session: &SessionHandle, question: &str, answer: &str, tokens: i64) -> Result<()> {
    let items = [json!({"role": "user", "content": question}), json!({"role": "assistant", "content": answer})];
    session.add_items(items.iter().map(|item| item.to_string().into_bytes()).collect()).await?;
    session.record_usage(Usage { requests: 1, total_tokens: tokens, ..Usage::default() }).await?;
    Ok(())
}

/// Waits for the next change of the conversation.
async fn observe(changes: &mut Responses<WatchResponse>, out: &mut String) -> Result<()> {
    let delta = changes.try_next().await?.and_then(|change| change.delta).unwrap_or_default();
    let kind = if delta.kind() == DeltaKind::Replaced { "replaced" } else { "appended" };
    writeln!(out, "watched {kind} {} items", delta.items.len())?;
    Ok(())
}

/// What the turns of the current branch cost, as far as it is recorded there.
async fn tokens_by_turn(client: &Client, session: &SessionHandle) -> Result<HashMap<i64, i64>> {
    let mut tokens = HashMap::new();
    let mut pages = client.pages(ListTurnUsageRequest {
        session_id: session.session_id().to_owned(),
        branch: Some(session.branch()),
        ..ListTurnUsageRequest::default()
    });
    while let Some(page) = pages.try_next().await? {
        tokens.extend(
            page.turns.iter().map(|turn| (turn.turn, turn.usage.as_ref().map_or(0, |usage| usage.total_tokens))),
        );
    }
    Ok(tokens)
}
