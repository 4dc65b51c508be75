//! Many calls on one stream: what waits is sent together, and each reply goes to its caller.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::runtime::Handle;
use tokio::time::{self, Instant};
use tonic::transport::Channel;
use tonic::{Request, Status};

use crate::calls::stub;
use crate::error::{Code, Error};
use crate::lane::{End, Lane};
use crate::pipeline_v1::pipeline_call::Request as Call;
use crate::pipeline_v1::pipeline_reply::Response as Reply;
use crate::pipeline_v1::pipeline_service_client::PipelineServiceClient;
use crate::retries::{Backoff, CALL_DELAY_MAX};
use crate::token::Token;

/// The calls of a client on one stream, which is opened with the first call, and again after it ended.
///
/// It knows nothing of retries: a call whose stream ends fails. But when the server is away, all wait for the same new
/// stream, so that it is asked for one about once a second, whatever the number of callers.
pub(crate) struct Pipeline {
    way: Way,
    /// That of the connection, which must run for any call; a caller's own may end, or stand still between its calls.
    runtime: Handle,
    state: Mutex<State>,
}

/// The way to the server.
#[derive(Clone)]
struct Way {
    channel: Channel,
    target: String,
    token: Option<Token>,
}

struct State {
    lane: Option<Arc<Lane>>,
    backoff: Backoff,
    opens_at: Instant,
    is_served: bool,
}

impl Pipeline {
    /// A pipeline of a connection that belongs to the runtime that runs now.
    pub(crate) fn new(channel: Channel, target: String, token: Option<Token>) -> Self {
        let backoff = Backoff::new(CALL_DELAY_MAX);
        let state = State { lane: None, backoff, opens_at: Instant::now(), is_served: true };
        Self { way: Way { channel, target, token }, runtime: Handle::current(), state: Mutex::new(state) }
    }

    /// Makes a call of a size in bytes, and returns its reply; or the error of the stream that ended without one.
    pub(crate) async fn call(&self, call: Call, size: usize, deadline: Instant) -> Result<Option<Reply>, Error> {
        let lane = loop {
            match self.lane() {
                Ok(lane) => break lane,
                Err(opens_at) => time::sleep_until(opens_at).await,
            }
        };
        let timeout = deadline.saturating_duration_since(Instant::now());
        lane.call(call, size, timeout).await.map_err(|end| end.error)
    }

    /// Whether the server knows the pipeline, as far as was seen.
    pub(crate) fn is_served(&self) -> bool {
        self.state().is_served
    }

    /// When the stream after one that ended may be opened, or was.
    pub(crate) fn opens_at(&self) -> Instant {
        self.state().opens_at
    }

    /// The open stream, which may be a new one; or when there may be one.
    fn lane(&self) -> Result<Arc<Lane>, Instant> {
        let mut state = self.state();
        if let Some(lane) = &state.lane {
            return Ok(Arc::clone(lane));
        }
        if state.opens_at > Instant::now() {
            return Err(state.opens_at);
        }
        let lane = Arc::new(Lane::default());
        state.lane = Some(Arc::clone(&lane));
        let running = Running { lane: Arc::clone(&lane), way: self.way.clone() };
        self.runtime.spawn(running.run());
        Ok(lane)
    }

    /// The state, in which a stream that ended is none any more.
    fn state(&self) -> MutexGuard<'_, State> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(end) = state.lane.as_ref().and_then(|lane| lane.end_of()) {
            state.note(&end);
        }
        state
    }
}

impl State {
    fn note(&mut self, end: &End) {
        self.lane = None;
        if end.has_answered {
            self.backoff.reset();
        }
        // Only a server that is away is waited for; what it refuses is for the callers to know.
        let wait = end.error.retry_delay().map(|asked| self.backoff.next(asked));
        self.opens_at = end.at + wait.unwrap_or_default();
        if end.error.code() == Code::Unimplemented && !end.error.is_from_turntree() {
            self.is_served = false;
        }
    }
}

impl Drop for Pipeline {
    fn drop(&mut self) {
        if let Some(lane) = &self.state().lane {
            lane.finish();
        }
    }
}

impl fmt::Debug for Pipeline {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Pipeline")
    }
}

/// A stream that runs. However that ends, and be it with its runtime, those who wait are told.
struct Running {
    lane: Arc<Lane>,
    way: Way,
}

impl Running {
    async fn run(self) {
        if let Err(error) = self.carry().await {
            self.lane.end(error);
        }
    }

    async fn carry(&self) -> Result<(), Error> {
        let Way { channel, target, token } = &self.way;
        let mut request = Request::new(self.lane.messages());
        if let Some(token) = token {
            request.metadata_mut().insert("authorization", token.authorization().await?);
        }
        let error = |status: Status| Error::from_status(&status, target);
        let call = stub!(PipelineServiceClient, channel.clone()).pipeline(request).await;
        let mut responses = call.map_err(error)?.into_inner();
        while let Some(response) = responses.message().await.map_err(error)? {
            self.lane.answer(response.replies);
        }
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.lane.end(Error::ended(&self.way.target));
    }
}
