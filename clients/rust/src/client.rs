//! The client: one connection, and the one way that every call goes.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{self, Instant};
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

use crate::builder::Builder;
use crate::calls::Pipelined;
use crate::error::{Code, Error};
use crate::pipeline::Pipeline;
use crate::pipeline_v1::pipeline_reply::Response as Reply;
use crate::retries::{Budget, CALL_DELAY_MAX, Retries, STREAM_DELAY_MAX, after};
use crate::session_handle::SessionHandle;
use crate::token::Token;
use crate::v1::ErrorReason;

/// How far apart two clocks of the same deadline may fire.
const DEADLINE_SLACK: Duration = Duration::from_millis(20);

/// What is larger goes on its own, so that small calls do not wait behind it.
const PIPELINED_BYTES_MAX: usize = 1024 * 1024;

/// A connection to a turntree server. Clones share it.
///
/// It has one method for each call of the server, which takes and returns the messages of [`v1`](crate::v1); their docs
/// say what each call does, and what its fields mean. On every call:
///
/// - A mutation without a `request_id` gets one, so that its retries have one effect.
/// - A server that is unavailable is tried again for 8 seconds, with growing and random waits and within a budget of
///   retries over all calls; and a server that asks to wait is asked again after that time.
/// - After 30 seconds, the call fails with `DEADLINE_EXCEEDED`. Both times are set with [`Client::builder`].
/// - Dropping the future of a call gives it up. What it was to do then happens whole or not at all.
///
/// # Errors
///
/// Every method fails with an [`Error`]; beyond the reasons that it lists, with
///
/// - `INVALID_ARGUMENT` when a field breaks its rule: the facts are the `field`, the `value` and the `limit`;
/// - `UNAUTHENTICATED` or `PERMISSION_DENIED` when the server asks for another credential;
/// - `UNAVAILABLE` when no server answered, `DEADLINE_EXCEEDED` when none did in time: a mutation may have happened, and
///   is safe to repeat with the same `request_id`;
/// - `RESOURCE_EXHAUSTED` when a limit of the server was reached;
/// - `INTERNAL` for a fault in turntree itself.
#[derive(Clone, Debug)]
pub struct Client {
    connection: Arc<Connection>,
    timeout: Duration,
}

#[derive(Debug)]
struct Connection {
    channel: Channel,
    pipeline: Pipeline,
    target: String,
    token: Option<Token>,
    budget: Budget,
    retry_for: Duration,
}

/// Why a call has no response.
enum Failure {
    /// Its own error.
    Call(Error),
    /// The error of the stream that it shares with others.
    Stream(Error),
}

impl Client {
    /// Connects to the server at an address: `host:port`, `turntree://host:port`, or with TLS
    /// `turntrees://host:port?ca_file=…&cert_file=…&key_file=…`.
    ///
    /// # Errors
    ///
    /// See [`Builder::connect`].
    pub async fn connect(url: impl Into<String>) -> Result<Self, Error> {
        Self::builder(url).connect().await
    }

    /// Begins a client with options.
    pub fn builder(url: impl Into<String>) -> Builder {
        Builder::new(url)
    }

    /// The same client with another deadline for its calls, their retries included.
    #[must_use]
    pub fn with_timeout(&self, timeout: Duration) -> Self {
        Self { connection: Arc::clone(&self.connection), timeout }
    }

    /// A handle for one session, which keeps the current branch.
    pub fn session(&self, session_id: impl Into<String>) -> SessionHandle {
        SessionHandle::new(self.clone(), session_id.into())
    }

    pub(crate) fn new(
        channel: Channel,
        target: String,
        token: Option<Token>,
        budget: Budget,
        timeout: Duration,
        retry_for: Duration,
    ) -> Self {
        let pipeline = Pipeline::new(channel.clone(), target.clone(), token.clone());
        Self { connection: Arc::new(Connection { channel, pipeline, target, token, budget, retry_for }), timeout }
    }

    pub(crate) fn target(&self) -> &str {
        &self.connection.target
    }

    /// Retries of a stream, which begin when it is first cut.
    pub(crate) fn stream_retries(&self) -> Retries<'_> {
        self.retries(STREAM_DELAY_MAX, None)
    }

    fn retries(&self, delay_max: Duration, deadline: Option<Instant>) -> Retries<'_> {
        let Connection { budget, retry_for, token, .. } = self.connection.as_ref();
        let may_renew = token.as_ref().is_some_and(Token::is_fresh);
        Retries::new(budget, *retry_for, delay_max, deadline).renewing(may_renew)
    }

    /// Makes a call that has one answer: the one way that all of them go. `send` makes it on its own.
    pub(crate) async fn call<Q, F, Fut>(&self, request: Q, send: F) -> Result<Q::Response, Error>
    where
        Q: Pipelined,
        F: Fn(Channel, Request<Q>) -> Fut,
        Fut: Future<Output = Result<Response<Q::Response>, Status>>,
    {
        let pipeline = &self.connection.pipeline;
        let deadline = after(Instant::now(), self.timeout);
        let mut retries = self.retries(CALL_DELAY_MAX, Some(deadline));
        let size = request.encoded_len();
        loop {
            let attempt = async {
                if size <= PIPELINED_BYTES_MAX && pipeline.is_served() {
                    self.attempt_on_pipeline(request.clone(), size, deadline).await
                } else {
                    self.attempt(request.clone(), Some(deadline), &send).await.map_err(Failure::Call)
                }
            };
            let Ok(outcome) = time::timeout_at(deadline, attempt).await else {
                return Err(Error::deadline(self.target(), self.timeout));
            };
            match outcome {
                Ok(response) => return Ok(response),
                // The transport has a clock of its own, and calls it a cancelled call.
                Err(Failure::Call(error))
                    if !error.is_from_turntree() && Instant::now() + DEADLINE_SLACK >= deadline =>
                {
                    return Err(Error::deadline(self.target(), self.timeout));
                }
                Err(Failure::Call(error)) => retries.pause(error).await?,
                Err(Failure::Stream(error)) if pipeline.is_served() => retries.join(error, pipeline.opens_at())?,
                Err(Failure::Stream(_)) => {} // an older server, which is asked for each call on its own
            }
        }
    }

    /// Asks once, on the stream of all calls, and notes that the server answered.
    async fn attempt_on_pipeline<Q: Pipelined>(
        &self,
        request: Q,
        size: usize,
        deadline: Instant,
    ) -> Result<Q::Response, Failure> {
        let Connection { pipeline, budget, target, .. } = self.connection.as_ref();
        let reply = pipeline.call(request.into_call(), size, deadline).await.map_err(Failure::Stream)?;
        if let Some(Reply::Error(message)) = &reply {
            return Err(Failure::Call(self.noted(Error::from_message(message, target))));
        }
        budget.answered();
        reply.and_then(Q::response).ok_or_else(|| {
            let message = format!("{target}: the reply is that of another call");
            Failure::Call(Error::new(Code::Internal, ErrorReason::Internal, message, []))
        })
    }

    /// Asks once, with the credential and the deadline, and notes whether the server answered.
    pub(crate) async fn attempt<Q, R, F, Fut>(
        &self,
        message: Q,
        deadline: Option<Instant>,
        send: &F,
    ) -> Result<R, Error>
    where
        F: Fn(Channel, Request<Q>) -> Fut,
        Fut: Future<Output = Result<Response<R>, Status>>,
    {
        let Connection { channel, token, budget, .. } = self.connection.as_ref();
        let mut request = Request::new(message);
        if let Some(deadline) = deadline {
            request.set_timeout(deadline.saturating_duration_since(Instant::now()));
        }
        if let Some(token) = token {
            request.metadata_mut().insert("authorization", token.authorization().await?);
        }
        match send(channel.clone(), request).await {
            Ok(response) => {
                budget.answered();
                Ok(response.into_inner())
            }
            Err(status) => Err(self.error(&status)),
        }
    }

    /// What a status says, in the words of turntree.
    pub(crate) fn error(&self, status: &Status) -> Error {
        self.noted(Error::from_status(status, self.target()))
    }

    fn noted(&self, error: Error) -> Error {
        if error.is_from_turntree() {
            self.connection.budget.answered();
        }
        error
    }
}
