//! The stream on which a client makes its calls.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::*;
use tokio::runtime::{self, Handle};
use tokio::task::JoinSet;
use tokio::time::{self, Instant};
use turntree::v1::*;
use turntree::{Client, Code, Error};
use turntree_testing::{Proxy, Server};

const CALLERS: usize = 100;

fn named(number: usize) -> AddItemsRequest {
    let text = number.to_string();
    AddItemsRequest { session_id: text.clone(), ..add(vec![user(&text)]) }
}

/// Many calls at once, each of which must have its own answer.
async fn write_all(client: &Client) {
    let mut calls = JoinSet::new();
    for number in 0..CALLERS {
        let client = client.clone();
        calls.spawn(async move {
            client.add_items(named(number)).await.unwrap();
            let request = GetItemsRequest { session_id: number.to_string(), ..GetItemsRequest::default() };
            let delta = client.get_items(request).await.unwrap().delta.unwrap();
            assert_eq!(delta.items, [user(&number.to_string())]);
        });
    }
    calls.join_all().await;
}

async fn list(client: Client) -> ListSessionsResponse {
    client.list_sessions(ListSessionsRequest::default()).await.unwrap()
}

/// Calls at once have each their own answer.
#[tokio::test(flavor = "multi_thread")]
async fn own_answers() {
    let (_server, client) = serving().await;
    write_all(&client).await;
}

/// Calls whose stream breaks are sent again on one new stream, and each has one effect. None of them costs a retry of the
/// budget, which would not do for all of them again and again.
#[tokio::test(flavor = "multi_thread")]
async fn broken_streams() {
    let server = Server::start();
    let reader = patient(server.address()).await;
    let proxy = Proxy::start(server.address(), &[40, 60, 100, 200, 400, 800]);
    let client = patient(proxy.address()).await;
    write_all(&client).await;
    let count = proxy.connections();
    assert!((3..=7).contains(&count), "{count} connections");
    for number in 0..CALLERS {
        let items = reader.session(number.to_string()).items().await.unwrap();
        assert_eq!(items, [user(&number.to_string())]);
    }
}

/// A call has its deadline also on a stream that stands still, and calls after it go on when the way is there again.
#[tokio::test]
async fn silent_streams() {
    let server = Server::start();
    let proxy = Proxy::start(server.address(), &[]);
    let client = patient(proxy.address()).await;
    client.add_items(add(vec![user("1")])).await.unwrap();
    proxy.go_silent();
    let begin = Instant::now();
    let hasty = client.with_timeout(Duration::from_millis(200));
    let error = hasty.add_items(add(vec![user("2")])).await.unwrap_err();
    assert_eq!((error.code(), error.reason()), (Code::DeadlineExceeded, ErrorReason::DeadlineExceeded));
    assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
    proxy.cut();
    client.add_items(add(vec![user("3")])).await.unwrap();
    assert_eq!(all_items(&client).await.unwrap(), [user("1"), user("3")]);
}

/// A server that does not know the pipeline is asked for each call on its own, with the same errors.
#[tokio::test]
async fn older_servers() {
    let server = Server::start_without_pipeline();
    let client = patient(server.address()).await;
    write_all(&client).await;
    let error = client.add_items(AddItemsRequest::default()).await.unwrap_err();
    assert_eq!((error.reason(), error.fact("field")), (ErrorReason::FieldRequired, Some("session_id")));
}

/// A request that is large goes on its own, and has its answer like others.
#[tokio::test]
async fn large_requests() {
    let (_server, client) = serving().await;
    let large = user(&"x".repeat(2 * 1024 * 1024));
    let (first, second) = tokio::join!(client.add_items(add(vec![large.clone()])), client.add_items(named(1)));
    assert_eq!((first.unwrap().turn, second.unwrap().turn), (1, 1));
    assert_eq!(all_items(&client).await.unwrap(), [large]);
}

/// A stream whose token has expired is opened again with a fresh one, which calls that share it ask for once.
#[tokio::test]
async fn expired_tokens() {
    let (server, authority, keys) = Server::start_private();
    let url = format!("turntrees://{}?ca_file={}", server.address(), authority.file());
    let tokens = Arc::new([keys.writer.clone(), keys.create("new", "writer")]);
    let count = Arc::new(AtomicUsize::new(0));
    let asked = Arc::clone(&count);
    let source = move || {
        let token = tokens[asked.fetch_add(1, Ordering::SeqCst).min(1)].clone();
        async move { Ok::<_, Error>(token) }
    };
    let client = Client::builder(&url).token_source(source).connect().await.unwrap();
    write_all(&client).await;
    let fixed = Client::builder(&url).token(&keys.writer).connect().await.unwrap();
    keys.revoke("writer");
    let refused = loop {
        // The server reads its keys again within a second or two, on a machine that has time for it.
        match all_items(&fixed).await {
            Ok(_) => time::sleep(Duration::from_millis(100)).await,
            Err(error) => break error,
        }
    };
    assert_eq!((refused.code(), refused.reason()), (Code::Unauthenticated, ErrorReason::CredentialInvalid));
    assert_eq!(count.load(Ordering::SeqCst), 1);
    let calls: JoinSet<_> = (0..CALLERS).map(|_| client.clone()).map(list).collect();
    assert_eq!((calls.join_all().await.len(), count.load(Ordering::SeqCst)), (CALLERS, 2));
}

/// A function that gives no token fails the call, and is not asked again for it.
#[tokio::test]
async fn no_token() {
    let server = Server::start();
    let count = Arc::new(AtomicUsize::new(0));
    let asked = Arc::clone(&count);
    let source = move || {
        asked.fetch_add(1, Ordering::SeqCst);
        async { Err::<String, _>("the vault is sealed") }
    };
    let client = Client::builder(server.address()).token_source(source).connect().await.unwrap();
    let error = client.add_items(named(1)).await.unwrap_err();
    assert_eq!((error.code(), count.load(Ordering::SeqCst)), (Code::Unauthenticated, 1));
    assert!(error.message().contains("the vault is sealed"), "{error}");
}

/// A function that never gives its token is given up after the time of a call, by calls and by streams, and asked again by
/// the next one.
#[tokio::test]
async fn hanging_tokens() {
    let server = Server::start();
    let writer = patient(server.address()).await;
    writer.add_items(add(vec![user("1")])).await.unwrap();
    let count = Arc::new(AtomicUsize::new(0));
    let asked = Arc::clone(&count);
    let source = move || {
        let hangs = asked.fetch_add(1, Ordering::SeqCst).is_multiple_of(2);
        async move {
            if hangs {
                std::future::pending::<()>().await;
            }
            Ok::<_, Error>("token".to_owned())
        }
    };
    let timeout = Duration::from_millis(300);
    let client = Client::builder(server.address()).token_source(source).timeout(timeout).connect().await.unwrap();
    client.add_items(add(vec![user("2")])).await.unwrap_err();
    client.with_timeout(PATIENCE).add_items(add(vec![user("3")])).await.unwrap();
    let error = time::timeout(PATIENCE, all_items(&client)).await.unwrap().unwrap_err();
    assert_eq!((error.code(), error.reason()), (Code::DeadlineExceeded, ErrorReason::DeadlineExceeded));
    assert!(error.message().contains("token"), "{error}");
    assert_eq!(all_items(&client).await.unwrap(), [user("1"), user("3")]);
}

/// Calls come from runtimes that end, and that stand still between calls, and the calls of others go on.
#[test]
fn runtimes() {
    let server = Server::start();
    let connecting = runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let client = connecting.block_on(patient(server.address()));
    let other = || runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let still = other();
    still.block_on(client.add_items(named(1))).unwrap();
    for number in 2..5 {
        other().block_on(client.add_items(named(number))).unwrap();
    }
    assert_eq!(connecting.block_on(client.session("4").items()).unwrap(), [user("4")]);
}

/// When the last client is dropped, its stream ends, and nothing of it is left.
#[tokio::test]
async fn dropped_clients() {
    let (_server, client) = serving().await;
    let other = client.clone();
    client.add_items(named(1)).await.unwrap();
    drop(client);
    other.add_items(named(2)).await.unwrap();
    assert!(Handle::current().metrics().num_alive_tasks() > 0);
    drop(other);
    time::timeout(PATIENCE, async {
        while Handle::current().metrics().num_alive_tasks() > 0 {
            time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .unwrap();
}
