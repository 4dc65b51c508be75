//! What the tests of the client share.
#![allow(dead_code, reason = "each test uses a part of it")]

use std::time::Duration;

use turntree::v1::*;
use turntree::{Client, Error};
use turntree_testing::Server;

pub const SESSION: &str = "conversation_123";
/// Longer than a server takes to start on a busy machine.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// A server, and a client that waits for it as long as it may take to start again.
pub async fn serving() -> (Server, Client) {
    let server = Server::start();
    let client = patient(server.address()).await;
    (server, client)
}

pub async fn patient(address: &str) -> Client {
    Client::builder(address).retry_for(PATIENCE).timeout(PATIENCE).connect().await.unwrap()
}

pub fn user(text: &str) -> Vec<u8> {
    message("user", text)
}

pub fn assistant(text: &str) -> Vec<u8> {
    message("assistant", text)
}

fn message(role: &str, text: &str) -> Vec<u8> {
    serde_json::to_vec(&serde_json::json!({"role": role, "content": text})).unwrap()
}

pub fn add(items: Vec<Vec<u8>>) -> AddItemsRequest {
    AddItemsRequest { session_id: SESSION.to_owned(), items, ..AddItemsRequest::default() }
}

pub async fn all_items(client: &Client) -> Result<Vec<Vec<u8>>, Error> {
    client.session(SESSION).items().await
}
