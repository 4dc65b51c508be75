//! What a client does when the server, or the way to it, is not there.

mod common;

use std::time::Duration;

use common::*;
use turntree::v1::*;
use turntree::{Client, Code};
use turntree_testing::{Proxy, Server};

const SHORT: Duration = Duration::from_millis(300);

/// A server that is away fails a call, a connection and a stream with `SERVER_UNREACHABLE`, after the time that is set.
#[tokio::test]
async fn server_away() {
    let mut server = Server::start();
    let client = Client::builder(server.address()).retry_for(SHORT).connect().await.unwrap();
    server.kill();
    let calling = client.get_session(GetSessionRequest { session_id: SESSION.to_owned() }).await.unwrap_err();
    let connecting = Client::builder(server.address()).retry_for(SHORT).connect().await.unwrap_err();
    let streaming = client.session(SESSION).stream_turns().try_next().await.unwrap_err();
    let watching = client.session(SESSION).watch().try_next().await.unwrap_err();
    for error in [calling, connecting, streaming, watching] {
        assert_eq!((error.code(), error.reason()), (Code::Unavailable, ErrorReason::ServerUnreachable));
        assert_eq!(error.fact("target"), Some(server.address()));
        assert!(error.message().to_lowercase().contains("refused"), "{error}");
    }
}

/// Calls go on through a kill -9 of the server and its restart, and each has one effect.
#[tokio::test(flavor = "multi_thread")]
async fn killed_server() {
    let (mut server, client) = serving().await;
    let (acknowledged, mut seen) = tokio::sync::watch::channel(0);
    let writer = tokio::spawn(async move {
        for number in 1..=60 {
            client.add_items(add(vec![user(&number.to_string())])).await.unwrap();
            acknowledged.send_replace(number);
        }
        client
    });
    for kill_at in [10, 30] {
        seen.wait_for(|number| *number >= kill_at).await.unwrap();
        server.kill();
        server = tokio::task::spawn_blocking(move || {
            server.start_again();
            server
        })
        .await
        .unwrap();
    }
    let client = writer.await.unwrap();
    let expected: Vec<Vec<u8>> = (1..=60).map(|number| user(&number.to_string())).collect();
    assert_eq!(all_items(&client).await.unwrap(), expected);
}

/// A call that reached the server before the connection was cut is repeated under the same name, and has one effect.
#[tokio::test]
async fn cut_answers() {
    let server = Server::start();
    let writer = patient(server.address()).await;
    writer.add_items(add(vec![user("first")])).await.unwrap();
    // The answer to a write lies beyond what the server says when a connection begins.
    for bytes in [40, 60, 80, 120, 160, 200] {
        let proxy = Proxy::start(server.address(), &[bytes]);
        let client = patient(proxy.address()).await;
        client.add_items(add(vec![user(&bytes.to_string())])).await.unwrap();
        client.add_items(add(vec![user("next")])).await.unwrap();
        client.add_items(add(vec![user("after")])).await.unwrap();
        assert_eq!(proxy.connections(), 2, "cut after {bytes} bytes");
    }
    assert_eq!(all_items(&writer).await.unwrap().len(), 1 + 3 * 6);
}

/// A history of 5 MB comes whole, in order, over connections that are cut within it.
#[tokio::test]
async fn cut_streams() {
    let server = Server::start();
    let writer = patient(server.address()).await;
    let items: Vec<Vec<u8>> = (0..50).map(|number| user(&format!("{number} {}", "ü".repeat(50_000)))).collect();
    for part in items.chunks(10) {
        writer.add_items(add(part.to_vec())).await.unwrap();
    }
    let proxy = Proxy::start(server.address(), &[1_500_000, 2_500_000]);
    let client = patient(proxy.address()).await;
    assert_eq!(all_items(&client).await.unwrap(), items);
    assert_eq!(proxy.connections(), 3);

    let proxy = Proxy::start(server.address(), &[1_500_000, 2_500_000]);
    let client = patient(proxy.address()).await;
    let request = StreamItemsRequest { session_id: SESSION.to_owned(), ..StreamItemsRequest::default() };
    let mut parts = client.stream_items(request);
    let mut kinds = Vec::new();
    while let Some(part) = parts.try_next().await.unwrap() {
        kinds.push(part.delta.unwrap().kind());
    }
    assert!(kinds.len() >= 5);
    assert_eq!(kinds.iter().filter(|kind| **kind == DeltaKind::Replaced).count(), 1, "{kinds:?}");
    assert_eq!(proxy.connections(), 3);

    let proxy = Proxy::start(server.address(), &[1_500_000, 2_500_000]);
    let client = patient(proxy.address()).await;
    let mut turns = client.session(SESSION).stream_turns();
    let mut streamed = Vec::new();
    while let Some(response) = turns.try_next().await.unwrap() {
        assert!(!response.restarted);
        streamed.extend(response.turns.into_iter().flat_map(|turn| turn.items));
    }
    assert_eq!(streamed, items);
    assert_eq!(proxy.connections(), 3);
}

/// A turn that is larger than a message goes on where it was cut, with no item twice.
#[tokio::test]
async fn cut_turns() {
    let server = Server::start();
    let writer = patient(server.address()).await;
    let mut items = vec![user("a long turn")];
    items.extend((0..40).map(|number| assistant(&format!("{number} {}", "x".repeat(100_000)))));
    writer.add_items(add(items.clone())).await.unwrap();
    let proxy = Proxy::start(server.address(), &[2_500_000]);
    let client = patient(proxy.address()).await;
    let mut turns = client.session(SESSION).stream_turns();
    let mut streamed = Vec::new();
    while let Some(response) = turns.try_next().await.unwrap() {
        assert!(response.turns.iter().all(|turn| turn.turn == 1));
        streamed.extend(response.turns.into_iter().flat_map(|turn| turn.items));
    }
    assert_eq!(streamed, items);
    assert_eq!(proxy.connections(), 2);
}

/// A watch goes on through a kill -9 and restart of the server, with every change once, for longer than calls are tried.
#[tokio::test(flavor = "multi_thread")]
async fn watch_goes_on() {
    let (mut server, writer) = serving().await;
    let impatient = Client::builder(server.address()).retry_for(SHORT).connect().await.unwrap();
    writer.add_items(add(vec![user("1")])).await.unwrap();
    let mut changes = impatient.session(SESSION).watch();
    let first = changes.try_next().await.unwrap().unwrap().delta.unwrap();
    assert_eq!((first.kind(), first.items), (DeltaKind::Replaced, vec![user("1")]));

    server.kill();
    let waiting = tokio::spawn(async move {
        let change = changes.try_next().await;
        (changes, change)
    });
    tokio::time::sleep(2 * SHORT).await;
    server = tokio::task::spawn_blocking(move || {
        server.start_again();
        server
    })
    .await
    .unwrap();
    writer.add_items(add(vec![user("2")])).await.unwrap();
    let (mut changes, change) = waiting.await.unwrap();
    let second = change.unwrap().unwrap().delta.unwrap();
    assert_eq!((second.kind(), second.items), (DeltaKind::Appended, vec![user("2")]));
    writer.add_items(add(vec![user("3")])).await.unwrap();
    let third = changes.try_next().await.unwrap().unwrap().delta.unwrap();
    assert_eq!((third.kind(), third.items), (DeltaKind::Appended, vec![user("3")]));
    drop(server);
}

/// A watch that goes on where nothing has changed meanwhile says nothing.
#[tokio::test]
async fn watch_of_no_change() {
    let server = Server::start();
    let writer = patient(server.address()).await;
    let proxy = Proxy::start(server.address(), &[]);
    let mut changes = patient(proxy.address()).await.session(SESSION).watch();
    let first = changes.try_next().await.unwrap().unwrap().delta.unwrap();
    assert_eq!(first.items.len(), 0);
    proxy.cut();
    // Until it has gone on, and for a second after that, it says nothing.
    for _ in 0..60 {
        let is_last = proxy.connections() == 2;
        let quiet = tokio::time::timeout(Duration::from_secs(1), changes.try_next()).await;
        assert!(quiet.is_err(), "{quiet:?}");
        if is_last {
            break;
        }
    }
    assert_eq!(proxy.connections(), 2);
    writer.add_items(add(vec![user("1")])).await.unwrap();
    assert_eq!(changes.try_next().await.unwrap().unwrap().delta.unwrap().items, [user("1")]);
}

/// A server that closes its connections in good order, one after another, is no reason for a call or a watch to fail.
#[tokio::test]
async fn aged_connections() {
    let server = Server::start_with(|_| ["--connection-age", "1"].map(ToOwned::to_owned).to_vec());
    let proxy = Proxy::start(server.address(), &[]);
    let client = patient(proxy.address()).await;
    let mut changes = client.session(SESSION).watch();
    let mut watched = Vec::new();
    let mut numbers = 0..;
    while proxy.connections() < 4 {
        client.add_items(add(vec![user(&numbers.next().unwrap().to_string())])).await.unwrap();
        watched.extend(changes.try_next().await.unwrap().unwrap().delta.unwrap().items);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let stored = all_items(&client).await.unwrap();
    while watched.len() < stored.len() {
        watched.extend(changes.try_next().await.unwrap().unwrap().delta.unwrap().items);
    }
    assert_eq!((watched, stored.len()), (stored.clone(), numbers.next().unwrap()));
}

/// A connection that dies without a word is noticed within seconds, by a call and by a watch that only listens.
#[tokio::test]
async fn silent_connection() {
    let server = Server::start();
    let writer = patient(server.address()).await;
    let proxy = Proxy::start(server.address(), &[]);
    let client = Client::builder(proxy.address()).timeout(Duration::from_secs(20)).connect().await.unwrap();
    let mut changes = client.session(SESSION).watch();
    changes.try_next().await.unwrap();
    proxy.go_silent();
    client.add_items(add(vec![user("1")])).await.unwrap();
    let change = changes.try_next().await.unwrap().unwrap().delta.unwrap();
    assert_eq!(change.items, [user("1")]);
    assert_eq!((proxy.connections(), all_items(&writer).await.unwrap().len()), (2, 1));
}
