//! The conformance program: reads a step a line, makes the call by the public client, and writes a line with the answer.
//!
//! `turntree-conformance DESCRIPTORS URL`. The steps are those of tests/conformance/README.md.

mod calls;
mod json;

use std::collections::HashMap;
use std::error::Error;
use std::io::{self, BufRead, Write};
use std::time::Duration;
use std::{env, fs};

use calls::{Answers, Outcome};
use json::Protos;
use serde_json::{Value, json};
use turntree::Client;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().collect();
    let [_, descriptors, url] = arguments.as_slice() else {
        return Err("usage: turntree-conformance DESCRIPTORS URL".into());
    };
    let protos = Protos::new(&fs::read(descriptors)?)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let client = runtime.block_on(Client::connect(url))?;
    let mut player = Player { client, protos, streams: HashMap::new() };
    for line in io::stdin().lock().lines() {
        let step: Value = serde_json::from_str(&line?)?;
        let answer = runtime.block_on(player.play(&step)).unwrap_or_else(|why| json!({"unsupported": why}));
        let mut stdout = io::stdout().lock();
        writeln!(stdout, "{answer}")?;
        stdout.flush()?;
    }
    Ok(())
}

struct Player {
    client: Client,
    protos: Protos,
    streams: HashMap<String, Answers>,
}

impl Player {
    async fn play(&mut self, step: &Value) -> Result<Value, String> {
        if let Some(name) = text(step, "next") {
            let answers = self.streams.get_mut(name).ok_or(format!("there is no stream '{name}'"))?;
            return Ok(take(answers, count(step)).await);
        }
        if let Some(name) = text(step, "stop") {
            self.streams.remove(name).ok_or(format!("there is no stream '{name}'"))?;
            return Ok(json!({"stopped": name}));
        }
        let call = text(step, "call").ok_or("the step is neither call, next nor stop")?;
        let request = step.get("request").cloned().unwrap_or_else(|| json!({}));
        let client = match step.get("timeout_s").and_then(Value::as_f64) {
            Some(timeout_s) => self.client.with_timeout(Duration::from_secs_f64(timeout_s)),
            None => self.client.clone(),
        };
        match calls::call(&client, &self.protos, call, request).await? {
            Outcome::Answer(Ok(response)) => Ok(json!({"response": response})),
            Outcome::Answer(Err(error)) => Ok(json!({"error": json::error(&error)})),
            Outcome::Answers(mut answers) => match text(step, "start") {
                Some(name) => {
                    self.streams.insert(name.to_owned(), answers);
                    Ok(json!({"started": name}))
                }
                None => Ok(take(&mut answers, count(step)).await),
            },
        }
    }
}

/// The next answers of a stream, as many as are asked for, or all; and the error that ends it, if one does.
async fn take(answers: &mut Answers, count: usize) -> Value {
    let mut responses = Vec::new();
    while responses.len() < count {
        match answers.next().await {
            Ok(Some(response)) => responses.push(response),
            Ok(None) => break,
            Err(error) => return json!({"responses": responses, "error": json::error(&error)}),
        }
    }
    json!({"responses": responses})
}

fn text<'a>(step: &'a Value, key: &str) -> Option<&'a str> {
    step.get(key).and_then(Value::as_str)
}

fn count(step: &Value) -> usize {
    let take = step.get("take").and_then(Value::as_u64);
    take.map_or(usize::MAX, |take| usize::try_from(take).unwrap_or(usize::MAX))
}
