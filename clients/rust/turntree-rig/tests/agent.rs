//! rig's agent with its memory on a real server, and a scripted model.

mod common;

use common::{calls, says, scripted_model, thinks};
use rig_agent::AgentBuilder;
use rig_agent::tool::{Tool, ToolContext};
use rig_core::completion::Message;
use rig_core::memory::ConversationMemory;
use serde_json::{Value, json};
use turntree::Client;
use turntree::v1::create_branch_request::Origin;
use turntree_rig::TurntreeMemory;
use turntree_testing::Server;

const CONVERSATION: &str = "conversation_123";

struct Weather;

impl Tool for Weather {
    const NAME: &'static str = "weather";
    type Error = std::convert::Infallible;
    type Args = Value;
    type Output = String;

    fn description(&self) -> String {
        "Tells the weather of a city".to_owned()
    }

    fn parameters(&self) -> Value {
        json!({"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]})
    }

    async fn call(&self, _: &mut ToolContext, arguments: Value) -> Result<String, Self::Error> {
        Ok(format!("{}: sunny", arguments["city"].as_str().unwrap_or_default()))
    }
}

async fn serving() -> (Server, TurntreeMemory) {
    let server = Server::start();
    let memory = TurntreeMemory::new(Client::connect(server.address()).await.unwrap());
    (server, memory)
}

/// What a model was asked, request by request.
fn inputs(http: &rig_core::test_utils::SequencedHttpClient) -> Vec<Value> {
    let requests = http.requests();
    requests.iter().map(|request| serde_json::from_slice::<Value>(&request.body).unwrap()["input"].clone()).collect()
}

/// An agent's run with a tool is kept message for message, and the next run, also of another agent, goes on from it.
#[tokio::test]
async fn runs_with_tools() {
    let (server, memory) = serving().await;
    let (model, _) = scripted_model(&[
        json!([thinks("They want the weather."), calls("weather", &json!({"city": "Lisbon"}))]),
        json!([says("It is sunny in Lisbon.")]),
    ]);
    let agent = AgentBuilder::new(model).memory(memory.clone()).tool(Weather).build();
    let answer =
        agent.prompt("How is the weather in Lisbon?").conversation(CONVERSATION).max_turns(3).run().await.unwrap();
    assert_eq!(answer.output(), "It is sunny in Lisbon.");
    assert!(answer.memory_append().unwrap().is_acknowledged());
    let kept = memory.load(&CONVERSATION.into()).await.unwrap();
    assert_eq!(kept, answer.messages());
    assert_eq!(kept.len(), 4);

    let elsewhere = TurntreeMemory::new(Client::connect(server.address()).await.unwrap());
    let (model, http) = scripted_model(&[json!([says("Take sunglasses.")])]);
    let agent = AgentBuilder::new(model).memory(elsewhere.clone()).tool(Weather).build();
    agent.prompt("What do I take?").conversation(CONVERSATION).run().await.unwrap();
    let input = &inputs(&http)[0];
    let types: Vec<&str> =
        input.as_array().unwrap().iter().map(|item| item["type"].as_str().unwrap_or("user")).collect();
    assert_eq!(types.len(), 6, "{input}");
    assert_eq!(input[1]["encrypted_content"], "c2VjcmV0", "{input}");
    assert_eq!(memory.load(&CONVERSATION.into()).await.unwrap().len(), 6);
}

/// Every other reader finds a conversation in the Responses form, with no key added to it.
#[tokio::test]
async fn other_readers() {
    let (_server, memory) = serving().await;
    let reasoning = thinks("They want the weather.");
    let call = calls("weather", &json!({"city": "Lisbon"}));
    let (model, _) = scripted_model(&[json!([reasoning, call]), json!([says("Sunny.")])]);
    let agent = AgentBuilder::new(model).memory(memory.clone()).tool(Weather).build();
    agent.prompt("How is the weather?").conversation(CONVERSATION).max_turns(3).run().await.unwrap();
    let session = memory.session(CONVERSATION);
    let items: Vec<Value> =
        session.items().await.unwrap().iter().map(|item| serde_json::from_slice(item).unwrap()).collect();
    let expected = [
        json!({"role": "user", "content": "How is the weather?"}),
        reasoning,
        call,
        json!({"type": "function_call_output", "call_id": "call_1", "output": "Lisbon: sunny"}),
        says("Sunny."),
    ];
    assert_eq!(items, expected);
}

/// What another program wrote in the Responses form is a history for the agent.
#[tokio::test]
async fn other_writers() {
    let (_server, memory) = serving().await;
    let items = [
        json!({"role": "user", "content": "What city is the Golden Gate Bridge in?"}),
        calls("weather", &json!({"city": "San Francisco"})),
        json!({"type": "function_call_output", "call_id": "call_1", "output": "fog"}),
        says("San Francisco, in fog."),
    ];
    let items = items.iter().map(|item| item.to_string().into_bytes()).collect();
    memory.session(CONVERSATION).add_items(items).await.unwrap();
    let (model, http) = scripted_model(&[json!([says("California.")])]);
    let agent = AgentBuilder::new(model).memory(memory.clone()).tool(Weather).build();
    agent.prompt("What state is it in?").conversation(CONVERSATION).run().await.unwrap();
    let input = &inputs(&http)[0];
    assert_eq!(input.as_array().unwrap().len(), 5, "{input}");
    assert_eq!((input[1]["name"].as_str(), input[2]["output"].as_str()), (Some("weather"), Some("fog")), "{input}");
    assert_eq!(memory.load(&CONVERSATION.into()).await.unwrap().len(), 6);
}

/// The agent goes on where the conversation's handle stands, and each branch has its own history.
#[tokio::test]
async fn branches() {
    let (_server, memory) = serving().await;
    let (model, _) =
        scripted_model(&[json!([says("San Francisco.")]), json!([says("California.")]), json!([says("1937.")])]);
    let agent = AgentBuilder::new(model).memory(memory.clone()).build();
    for question in ["Which city?", "Which state?"] {
        agent.prompt(question).conversation(CONVERSATION).run().await.unwrap();
    }
    let session = memory.session(CONVERSATION);
    session.create_branch(Origin::Turn(2), Some("history")).await.unwrap();
    agent.prompt("When was it built?").conversation(CONVERSATION).run().await.unwrap();
    let questions = |messages: Vec<Message>| messages.iter().filter_map(Message::rag_text).collect::<Vec<_>>();
    let history = memory.load(&CONVERSATION.into()).await.unwrap();
    assert_eq!(questions(history), ["Which city?", "When was it built?"]);
    session.switch_to("main").await.unwrap();
    let main = memory.load(&CONVERSATION.into()).await.unwrap();
    assert_eq!(questions(main), ["Which city?", "Which state?"]);
}

/// A conversation that was cleared, or never began, has no messages, and the server's error reaches rig.
#[tokio::test]
async fn cleared_and_refused() {
    let (_server, memory) = serving().await;
    let id = CONVERSATION.into();
    assert_eq!(memory.load(&id).await.unwrap(), []);
    memory.append(&id, vec![]).await.unwrap();
    memory.append(&id, vec![Message::user("hello")]).await.unwrap();
    memory.clear(&id).await.unwrap();
    assert_eq!(memory.load(&id).await.unwrap(), []);
    let error = memory.append(&" ".into(), vec![Message::user("hello")]).await.unwrap_err();
    assert!(error.to_string().contains("ERROR_REASON_FIELD_REQUIRED"), "{error}");
}
