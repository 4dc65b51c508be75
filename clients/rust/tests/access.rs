//! TLS, tokens and limits, on a server that asks for them.

mod common;

use std::env;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::*;
use turntree::v1::*;
use turntree::{Client, Code, Error};
use turntree_testing::{Authority, Server};

const SHORT: Duration = Duration::from_millis(300);
const CHILD_URL: &str = "TURNTREE_TEST_URL";

fn url(server: &Server, authority: &Authority) -> String {
    format!("turntrees://{}?ca_file={}", server.address(), authority.file())
}

/// What keeps a client from a server.
async fn refusal(url: &str) -> Error {
    let outcome = Client::builder(url).retry_for(SHORT).connect().await;
    match outcome {
        Ok(client) => client.session(SESSION).items().await.unwrap_err(),
        Err(error) => error,
    }
}

/// Over TLS, a token says who calls, and what it does not allow is refused with its reason.
#[tokio::test]
async fn tokens() {
    let (server, authority, keys) = Server::start_private();
    let url = url(&server, &authority);
    let writer = Client::builder(&url).token(&keys.writer).connect().await.unwrap();
    writer.add_items(add(vec![user("1")])).await.unwrap();
    let reader = Client::builder(&url).token(&keys.reader).connect().await.unwrap();
    assert_eq!(all_items(&reader).await.unwrap(), [user("1")]);
    let error = reader.add_items(add(vec![user("2")])).await.unwrap_err();
    assert_eq!((error.code(), error.reason()), (Code::PermissionDenied, ErrorReason::RoleInsufficient));
    assert_eq!((error.fact("role"), error.fact("limit")), (Some("reader"), Some("writer")));
    assert_eq!(refusal(&url).await.reason(), ErrorReason::CredentialRequired);
    let stranger = Client::builder(&url).token("tt_nobody's").connect().await.unwrap();
    let error = all_items(&stranger).await.unwrap_err();
    assert_eq!((error.code(), error.reason()), (Code::Unauthenticated, ErrorReason::CredentialInvalid));
    assert!(!format!("{error:?} {stranger:?}").contains("nobody"));
}

/// A token is not sent to another machine in plaintext, and what is no token is sent nowhere; nothing is asked of the
/// network for that, and the error does not show the token.
#[tokio::test]
async fn refused_tokens() {
    for (url, token) in [("192.0.2.1:1", "secret"), ("127.0.0.1:1", "secret and more"), ("127.0.0.1:1", "")] {
        let error = Client::builder(url).token(token).retry_for(SHORT).connect().await.unwrap_err();
        assert_eq!((error.code(), error.fact("field")), (Code::InvalidArgument, Some("token")), "{url}");
        assert!(!format!("{error:?}").contains("secret"));
    }
}

/// A server whose certificate is not trusted, or that speaks no TLS, is not reached, and the error says why.
#[tokio::test]
async fn untrusted_servers() {
    let (server, _, _) = Server::start_private();
    let folder = server.folder().join("other");
    std::fs::create_dir(&folder).unwrap();
    let stranger = Authority::new(&folder);
    let error = refusal(&url(&server, &stranger)).await;
    assert_eq!((error.code(), error.reason()), (Code::Unavailable, ErrorReason::ServerUnreachable));
    assert!(error.message().contains("certificate"), "{error}");
    let plain = Server::start();
    let error = refusal(&url(&plain, &stranger)).await;
    assert_eq!(error.reason(), ErrorReason::ServerUnreachable, "{error}");
    assert_eq!(refusal(server.address()).await.reason(), ErrorReason::ServerUnreachable);
}

/// A server that asks for a certificate of the client lets in who has one.
#[tokio::test]
async fn client_certificates() {
    let mut authority = None;
    let server = Server::start_with(|folder| {
        let own = authority.insert(Authority::new(folder));
        let (cert, key) = own.issue("server");
        let ca = own.file();
        ["--tls-cert", &cert, "--tls-key", &key, "--tls-client-ca", &ca].map(ToOwned::to_owned).to_vec()
    });
    let authority = authority.unwrap();
    let url = url(&server, &authority);
    let (cert, key) = authority.issue("client");
    let client = Client::connect(format!("{url}&cert_file={cert}&key_file={key}")).await.unwrap();
    client.add_items(add(vec![user("1")])).await.unwrap();
    assert_eq!(refusal(&url).await.reason(), ErrorReason::ServerUnreachable);
}

/// A call beyond the rate is made again after the time that the server asks for; without time for that, it says so.
#[tokio::test]
async fn rates() {
    let (server, authority, keys) = Server::start_private_with(&["--rate-max", "20"]);
    let connect = |retry_for| {
        let builder = Client::builder(url(&server, &authority)).token(&keys.writer);
        async move { builder.retry_for(retry_for).connect().await.unwrap() }
    };
    let client = connect(PATIENCE).await;
    for number in 0..50 {
        client.add_items(add(vec![user(&number.to_string())])).await.unwrap();
    }
    let hasty = connect(Duration::from_millis(1)).await;
    let mut refused = None;
    for _ in 0..200 {
        if let Err(error) = hasty.get_session(GetSessionRequest { session_id: SESSION.to_owned() }).await {
            refused = Some(error);
            break;
        }
    }
    let error = refused.expect("two hundred calls at once are beyond the rate");
    assert_eq!((error.code(), error.reason()), (Code::ResourceExhausted, ErrorReason::RateExceeded));
    assert!(error.retry_after().is_some_and(|wait| wait > Duration::ZERO));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(all_items(&client).await.unwrap().len(), 50);
}

/// A function gives the token of each call, and a watch whose token was revoked goes on with the next one.
#[tokio::test]
async fn renewed_tokens() {
    let (server, authority, keys) = Server::start_private();
    let token = Arc::new(Mutex::new(keys.writer.clone()));
    let count = Arc::new(AtomicUsize::new(0));
    let (current, asked) = (Arc::clone(&token), Arc::clone(&count));
    let source = move || {
        asked.fetch_add(1, Ordering::SeqCst);
        let token = current.lock().unwrap().clone();
        async move { Ok::<_, Error>(token) }
    };
    let client = Client::builder(url(&server, &authority)).token_source(source).connect().await.unwrap();
    let mut changes = client.session(SESSION).watch();
    changes.try_next().await.unwrap();
    *token.lock().unwrap() = keys.create("new", "writer");
    keys.revoke("writer");
    let writer = async {
        // The server reads its keys again within a second or two, on a machine that has time for it.
        for _ in 0..120 {
            if count.load(Ordering::SeqCst) >= 2 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
        client.add_items(add(vec![user("1")])).await.unwrap();
    };
    let (change, ()) = tokio::join!(changes.try_next(), writer);
    assert_eq!(change.unwrap().unwrap().delta.unwrap().items, [user("1")]);
    assert_eq!(count.load(Ordering::SeqCst), 3);
}

/// Without a token in the program, that of the environment is used. This runs itself again in such an environment.
#[tokio::test]
async fn token_of_the_environment() {
    if let Ok(url) = env::var(CHILD_URL) {
        Client::connect(url).await.unwrap().add_items(add(vec![user("1")])).await.unwrap();
        return;
    }
    let (server, authority, keys) = Server::start_private();
    let run = |token: &str| {
        Command::new(env::current_exe().unwrap())
            .args(["--exact", "token_of_the_environment"])
            .env(CHILD_URL, url(&server, &authority))
            .env("TURNTREE_TOKEN", token)
            .output()
            .unwrap()
    };
    assert!(run(&keys.writer).status.success());
    let output = run("tt_nobody's");
    assert!(String::from_utf8_lossy(&output.stdout).contains("CredentialInvalid"), "{output:?}");
}
