//! One stream of the pipeline: the calls that wait to be sent on it, and those that wait for its replies.

use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_core::Stream;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::error::Error;
use crate::pipeline_v1::pipeline_call::Request;
use crate::pipeline_v1::pipeline_reply::Response;
use crate::pipeline_v1::{PipelineCall, PipelineReply, PipelineRequest};

const CALLS_A_MESSAGE_MAX: usize = 64;
const MESSAGE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// What the callers and the two ends of a stream share.
#[derive(Default)]
pub(crate) struct Lane(Mutex<State>);

#[derive(Default)]
struct State {
    last_id: i64,
    unsent: VecDeque<Unsent>,
    waiting: HashMap<i64, oneshot::Sender<Option<Response>>>,
    sender: Option<Waker>,
    is_finished: bool,
    has_answered: bool,
    end: Option<End>,
}

struct Unsent {
    call: PipelineCall,
    size: usize,
}

/// How a stream ended.
#[derive(Clone)]
pub(crate) struct End {
    pub(crate) error: Error,
    pub(crate) at: Instant,
    pub(crate) has_answered: bool,
}

impl Lane {
    /// Makes a call of a size in bytes, and returns the reply; or why the stream ended without one.
    ///
    /// A caller that leaves takes the call with it if it was not sent yet; else the reply is for nobody.
    pub(crate) async fn call(&self, request: Request, size: usize, timeout: Duration) -> Result<Option<Response>, End> {
        let (call_id, reply) = self.begin(request, size, timeout)?;
        let _leaving = Leaving { lane: self, call_id };
        match reply.await {
            Ok(response) => Ok(response),
            Err(_) => Err(self.end_of().expect("nobody but the end of the stream drops who waits")),
        }
    }

    fn begin(
        &self,
        request: Request,
        size: usize,
        timeout: Duration,
    ) -> Result<(i64, oneshot::Receiver<Option<Response>>), End> {
        let mut state = self.state();
        if let Some(end) = &state.end {
            return Err(end.clone());
        }
        state.last_id += 1;
        let call_id = state.last_id;
        let (answer, reply) = oneshot::channel();
        state.waiting.insert(call_id, answer);
        let timeout = prost_types::Duration::try_from(timeout).ok();
        state.unsent.push_back(Unsent { call: PipelineCall { call_id, timeout, request: Some(request) }, size });
        let sender = state.sender.take();
        drop(state);
        if let Some(sender) = sender {
            sender.wake();
        }
        Ok((call_id, reply))
    }

    /// What is to be sent, message by message, until the lane is finished.
    pub(crate) fn messages(self: &Arc<Self>) -> Messages {
        Messages { lane: Arc::clone(self), seen: 0 }
    }

    /// Gives each reply to its caller, if it still waits.
    pub(crate) fn answer(&self, replies: Vec<PipelineReply>) {
        let mut state = self.state();
        state.has_answered = true;
        for reply in replies {
            if let Some(answer) = state.waiting.remove(&reply.call_id) {
                let _ = answer.send(reply.response);
            }
        }
    }

    /// Notes why the stream ended, once, and tells all who wait.
    pub(crate) fn end(&self, error: Error) {
        let mut state = self.state();
        if state.end.is_none() {
            state.end = Some(End { error, at: Instant::now(), has_answered: state.has_answered });
            state.unsent.clear();
            state.waiting.clear();
        }
    }

    /// How the stream ended, if it has.
    pub(crate) fn end_of(&self) -> Option<End> {
        self.state().end.clone()
    }

    /// Sends what waits, and then the end: there will be no more calls.
    pub(crate) fn finish(&self) {
        let mut state = self.state();
        state.is_finished = true;
        if let Some(sender) = state.sender.take() {
            sender.wake();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes back, when its caller leaves, what nobody waits for any more.
struct Leaving<'a> {
    lane: &'a Lane,
    call_id: i64,
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        let mut state = self.lane.state();
        if state.waiting.remove(&self.call_id).is_some() {
            state.unsent.retain(|unsent| unsent.call.call_id != self.call_id);
        }
    }
}

/// The messages of a stream: each has what waits, as far as it fits.
pub(crate) struct Messages {
    lane: Arc<Lane>,
    seen: usize,
}

impl Stream for Messages {
    type Item = PipelineRequest;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<PipelineRequest>> {
        let this = &mut *self;
        let mut state = this.lane.state();
        let count = state.unsent.len();
        if count == 0 {
            if state.is_finished {
                return Poll::Ready(None);
            }
            state.sender = Some(context.waker().clone());
            return Poll::Pending;
        }
        let others = state.waiting.len() - count;
        if count > this.seen && count < CALLS_A_MESSAGE_MAX && others > 0 {
            // Who got a reply just now may be about to call again, and travels along; when nobody more came, it is sent.
            this.seen = count;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        this.seen = 0;
        Poll::Ready(Some(state.next_message()))
    }
}

impl State {
    fn next_message(&mut self) -> PipelineRequest {
        let mut calls = Vec::with_capacity(self.unsent.len().min(CALLS_A_MESSAGE_MAX));
        let mut size = 0;
        while calls.len() < CALLS_A_MESSAGE_MAX && size < MESSAGE_BYTES_MAX {
            let Some(unsent) = self.unsent.pop_front() else { break };
            size += unsent.size;
            calls.push(unsent.call);
        }
        PipelineRequest { calls }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{Future, poll_fn};
    use std::pin::pin;

    use super::*;
    use crate::v1::{GetSessionRequest, GetSessionResponse};

    const LONG: Duration = Duration::from_mins(1);

    fn request() -> Request {
        Request::GetSession(GetSessionRequest::default())
    }

    fn reply(call_id: i64) -> PipelineReply {
        PipelineReply { call_id, response: Some(Response::GetSession(GetSessionResponse::default())) }
    }

    async fn next(messages: &mut Messages) -> Option<PipelineRequest> {
        poll_fn(|context| Pin::new(&mut *messages).poll_next(context)).await
    }

    async fn ids(messages: &mut Messages) -> Vec<i64> {
        next(messages).await.unwrap().calls.iter().map(|call| call.call_id).collect()
    }

    /// Lets a call begin, up to where it waits for its reply.
    async fn begun<F: Future>(mut call: Pin<&mut F>) {
        poll_fn(|context| {
            assert!(call.as_mut().poll(context).is_pending());
            Poll::Ready(())
        })
        .await;
    }

    /// Calls that wait are sent in one message, as far as their number and size allow, and each with its timeout.
    #[tokio::test]
    async fn calls_share_messages() {
        let lane = Arc::new(Lane::default());
        let mut messages = lane.messages();
        let _replies: Vec<_> = (0..150).map(|_| lane.begin(request(), 100, LONG).ok()).collect();
        for count in [64, 64, 22] {
            let calls = next(&mut messages).await.unwrap().calls;
            assert_eq!(calls.len(), count);
            assert!(calls.iter().all(|call| call.timeout.is_some_and(|timeout| timeout.seconds == 60)));
        }
        let _replies: Vec<_> = (0..10).map(|_| lane.begin(request(), MESSAGE_BYTES_MAX / 4, LONG).ok()).collect();
        for count in [4, 4, 2] {
            assert_eq!(ids(&mut messages).await.len(), count);
        }
    }

    /// A call without others is sent at once; calls that others make at the same time travel with theirs.
    #[tokio::test]
    async fn who_is_about_to_call_travels_along() {
        let lane = Arc::new(Lane::default());
        let mut messages = lane.messages();
        let _first = lane.begin(request(), 1, LONG);
        assert!(poll_fn(|context| Poll::Ready(Pin::new(&mut messages).poll_next(context).is_ready())).await);
        let other = async { drop(lane.begin(request(), 1, LONG)) };
        let _second = lane.begin(request(), 1, LONG);
        assert_eq!(tokio::join!(ids(&mut messages), other).0, [2, 3]);
    }

    /// A caller that leaves takes an unsent call with it; a reply that comes too late is for nobody, and harms nobody.
    #[tokio::test]
    async fn callers_that_leave() {
        let lane = Arc::new(Lane::default());
        let mut messages = lane.messages();
        let mut staying = pin!(lane.call(request(), 1, LONG));
        begun(staying.as_mut()).await;
        {
            let mut leaving = pin!(lane.call(request(), 1, LONG));
            begun(leaving.as_mut()).await;
        }
        assert_eq!(ids(&mut messages).await, [1]);
        {
            let mut leaving = pin!(lane.call(request(), 1, LONG));
            begun(leaving.as_mut()).await;
            assert_eq!(ids(&mut messages).await, [3]);
        }
        lane.answer(vec![reply(3), reply(2), reply(1)]);
        assert!(matches!(staying.await, Ok(Some(Response::GetSession(_)))));
        assert_eq!(lane.state().waiting.len(), 0);
    }

    /// When the stream ends, those who wait are told why, and those who come later are.
    #[tokio::test]
    async fn ended() {
        let lane = Arc::new(Lane::default());
        let mut waiting = pin!(lane.call(request(), 1, LONG));
        begun(waiting.as_mut()).await;
        lane.end(Error::unreachable("h:1", "gone"));
        lane.end(Error::ended("h:1"));
        for end in [waiting.await, lane.call(request(), 1, LONG).await] {
            let end = end.err().unwrap();
            assert_eq!((end.error, end.has_answered), (Error::unreachable("h:1", "gone"), false));
        }
    }

    /// A lane that is finished sends what waits and ends.
    #[tokio::test]
    async fn finished() {
        let lane = Arc::new(Lane::default());
        let mut messages = lane.messages();
        let _reply = lane.begin(request(), 1, LONG);
        lane.finish();
        assert_eq!(ids(&mut messages).await, [1]);
        assert!(next(&mut messages).await.is_none());
    }
}
