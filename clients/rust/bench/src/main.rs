//! Measures turns through the client and the same bytes through a bare echo, by tonic as well.
//!
//! `turntree-bench TURNTREE_URL ECHO_URL`. What it reads and prints is told in benchmarks/rows/languages.py.

use std::error::Error;
use std::io::{self, BufRead};
use std::time::{Duration, Instant};
use std::{env, iter};

use futures_util::future::join_all;
use http::uri::PathAndQuery;
use prost::Message;
use serde_json::value::RawValue;
use tonic::Request;
use tonic::transport::{Channel, Endpoint};
use tonic_prost::ProstCodec;
use turntree::Client;
use turntree::v1::{AddItemsRequest, BranchPointer, DeltaKind, GetItemsRequest, ItemsDelta};
use uuid::Uuid;

const SESSIONS: usize = 64;
const HISTORY_TURNS: usize = 25;

type Failure = Box<dyn Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = env::args().collect();
    let [_, url, echo_url] = arguments.as_slice() else {
        return Err("usage: turntree-bench TURNTREE_URL ECHO_URL".into());
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let client = runtime.block_on(Client::connect(url))?;
    let echo = runtime.block_on(Endpoint::new(format!("http://{echo_url}"))?.connect())?;

    let mut lines = io::stdin().lock().lines();
    let turns = read_turns(&lines.next().ok_or("no turns are given")??)?;
    let name = Uuid::now_v7();
    let mut conversations = Vec::new();
    for number in 0..SESSIONS {
        let begun = Conversation::begin(&client, &echo, format!("bench-{name}-{number}"), &turns);
        conversations.push(runtime.block_on(begun)?);
    }
    for line in lines {
        let line = line?;
        let [side, callers, seconds] = line.split(' ').collect::<Vec<_>>()[..] else {
            return Err("a line is SIDE CALLERS SECONDS".into());
        };
        let some = &mut conversations[..callers.parse()?];
        println!("{}", runtime.block_on(measure(side, some, Duration::from_secs_f64(seconds.parse()?)))?);
    }
    Ok(())
}

/// Lets conversations make turns for a while, each one after another.
async fn measure(side: &str, conversations: &mut [Conversation], time: Duration) -> Result<serde_json::Value, Failure> {
    let start = Instant::now();
    let workers = conversations.iter_mut().map(async |conversation| {
        let mut latencies = Vec::new();
        while start.elapsed() < time {
            let begin = Instant::now();
            match side {
                "turns" => conversation.turn().await?,
                "echo" => conversation.echo_turn().await?,
                _ => return Err(Failure::from("a side is turns or echo")),
            }
            latencies.push(begin.elapsed().as_secs_f64() * 1000.0);
        }
        Ok(latencies)
    });
    let latencies: Result<Vec<_>, _> = join_all(workers).await.into_iter().collect();
    Ok(serde_json::json!({"elapsed_s": start.elapsed().as_secs_f64(), "latencies_ms": latencies?.concat()}))
}

/// A conversation with a history, and what is to be said in it.
struct Conversation {
    client: Client,
    echo: Channel,
    session_id: String,
    branch: Option<BranchPointer>,
    cursor: Option<Vec<u8>>,
    turns: Vec<Vec<Vec<u8>>>,
    /// The two requests of each turn, for the echo.
    echoes: Vec<[Vec<u8>; 2]>,
    next: usize,
}

impl Conversation {
    async fn begin(
        client: &Client,
        echo: &Channel,
        session_id: String,
        turns: &[Vec<Vec<u8>>],
    ) -> Result<Self, Failure> {
        let (history, rest) = turns.split_at_checked(HISTORY_TURNS).ok_or("a history has 25 turns")?;
        let mut conversation = Self {
            client: client.clone(),
            echo: echo.clone(),
            session_id,
            branch: None,
            cursor: None,
            turns: rest.to_vec(),
            echoes: Vec::new(),
            next: 0,
        };
        let history = history.concat();
        client.add_items(conversation.adding(history.clone())).await?;
        if conversation.read().await?.items.len() != history.len() {
            return Err("the history was not read".into());
        }
        conversation.echoes = iter::zip(iter::repeat(conversation.reading().encode_to_vec()), rest)
            .map(|(reading, items)| {
                let request_id = Uuid::now_v7().to_string(); // as the client gives one
                let adding = AddItemsRequest { request_id, ..conversation.adding(items.clone()) };
                [reading, adding.encode_to_vec()]
            })
            .collect();
        Ok(conversation)
    }

    async fn turn(&mut self) -> Result<(), Failure> {
        if self.read().await?.kind() == DeltaKind::Replaced {
            return Err("more was read than is new".into());
        }
        let items = self.turns[self.next % self.turns.len()].clone();
        self.branch = self.client.add_items(self.adding(items)).await?.branch;
        self.next += 1;
        Ok(())
    }

    async fn read(&mut self) -> Result<ItemsDelta, Failure> {
        let delta = self.client.get_items(self.reading()).await?.delta.unwrap_or_default();
        self.branch.clone_from(&delta.branch);
        self.cursor = Some(delta.cursor.clone());
        Ok(delta)
    }

    async fn echo_turn(&mut self) -> Result<(), Failure> {
        for request in &self.echoes[self.next % self.echoes.len()] {
            let mut grpc = tonic::client::Grpc::new(self.echo.clone());
            grpc.ready().await?;
            let path = PathAndQuery::from_static("/benchmarks.Echo/Back");
            let codec: ProstCodec<Bytes, Bytes> = ProstCodec::default();
            let reply = grpc.unary(Request::new(Bytes { value: request.clone() }), path, codec).await?;
            if reply.into_inner().value.len() != request.len() {
                return Err("the echo says something else".into());
            }
        }
        self.next += 1;
        Ok(())
    }

    fn reading(&self) -> GetItemsRequest {
        GetItemsRequest {
            session_id: self.session_id.clone(),
            branch: self.branch.clone(),
            cursor: self.cursor.clone(),
            ..GetItemsRequest::default()
        }
    }

    fn adding(&self, items: Vec<Vec<u8>>) -> AddItemsRequest {
        AddItemsRequest {
            session_id: self.session_id.clone(),
            branch: self.branch.clone(),
            items,
            ..AddItemsRequest::default()
        }
    }
}

/// What the echo is sent and sends back.
#[derive(Clone, PartialEq, Message)]
struct Bytes {
    #[prost(bytes = "vec", tag = "1")]
    value: Vec<u8>,
}

fn read_turns(line: &str) -> Result<Vec<Vec<Vec<u8>>>, Failure> {
    let turns: Vec<Vec<&RawValue>> = serde_json::from_str(line)?;
    Ok(turns.into_iter().map(|items| items.into_iter().map(|item| item.get().into()).collect()).collect())
}
