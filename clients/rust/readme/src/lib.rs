//! The examples of the README, as a program: see `build.rs`.
#![cfg(test)]
#![allow(unused, reason = "an example shows what there is, and uses some of it")]

include!(concat!(env!("OUT_DIR"), "/readme.rs"));

/// The examples do what the README says.
#[tokio::test]
async fn examples() {
    let server = turntree_testing::Server::start();
    plain(server.address()).await.unwrap();
}
