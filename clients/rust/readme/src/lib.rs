//! The examples of the README, as a program: see `build.rs`.
#![cfg(test)]
#![allow(unused, reason = "an example shows what there is, and uses some of it")]

#[path = "../../turntree-rig/tests/common/mod.rs"]
mod scripted;

use rig_core::driver::Model;
use rig_core::providers::openai::responses_api::wire::Responses;

include!(concat!(env!("OUT_DIR"), "/readme.rs"));

/// A model that answers as the README says, without a key or a network.
fn model() -> Model<Responses> {
    let answers = ["San Francisco", "California", "1937"];
    scripted::scripted_model(&answers.map(|answer| serde_json::json!([scripted::says(answer)]))).0
}

/// The examples do what the README says.
#[tokio::test]
async fn examples() {
    let server = turntree_testing::Server::start();
    plain(server.address()).await.unwrap();
}
