//! The examples of the README, as a program: see `build.rs`.
#![cfg(test)]
#![allow(unused, reason = "an example shows what there is, and uses some of it")]

#[path = "../../turntree-rig/tests/common/mod.rs"]
mod scripted;

use std::sync::OnceLock;

use rig_core::driver::Model;
use rig_core::providers::openai::responses_api::wire::Responses;
use turntree_testing::Server;

include!(concat!(env!("OUT_DIR"), "/readme.rs"));

/// A model that answers as the README says, without a key or a network.
fn model() -> Model<Responses> {
    let answers = ["San Francisco", "California", "1937"];
    scripted::scripted_model(&answers.map(|answer| serde_json::json!([scripted::says(answer)]))).0
}

static TOKEN: OnceLock<String> = OnceLock::new();

fn token() -> String {
    TOKEN.get().unwrap().clone()
}

/// The examples do what the README says.
#[tokio::test]
async fn examples() {
    let server = Server::start();
    plain(server.address()).await.unwrap();
}

/// The examples of the section on TLS and credentials do what the README says, with a server that asks for both.
#[tokio::test]
async fn examples_with_tls() {
    let (server, authority, keys) = Server::start_private();
    let address = format!("turntrees://{}?ca_file={}", server.address(), authority.file());
    TOKEN.set(keys.reader).unwrap();
    tls(&address).await.unwrap();
}
