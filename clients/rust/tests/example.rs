//! The example does what the README says of it.

#[path = "../example/conversation.rs"]
#[allow(dead_code, reason = "its main is not called here")]
mod conversation;

use turntree::Client;
use turntree_testing::Server;

const EXPECTED: &str = "\
watched replaced 0 items
watched appended 2 items
watched appended 2 items
main      turn 1  Which city has the Golden Gate Bridge?  56 tokens
main      turn 2  Which state is it in?  81 tokens
shorter   turn 1  Which city has the Golden Gate Bridge?  - tokens
shorter   turn 2  Say it in two letters.  70 tokens
all branches: 3 requests, 207 tokens
";

/// The example stores a conversation, watches it, branches it and accounts for it.
#[tokio::test]
async fn conversation() {
    let server = Server::start();
    let client = Client::connect(server.address()).await.unwrap();
    assert_eq!(conversation::converse(&client, "example 1").await.unwrap(), EXPECTED);
}
