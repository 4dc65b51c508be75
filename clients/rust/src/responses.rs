//! What a call answers piece by piece.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;

use crate::error::Error;

/// Responses that come one after another: a `Stream` of results, which ends after the first error.
///
/// Nothing is asked of the server before the first response is waited for. Dropping it cancels the call.
#[must_use = "nothing happens until its responses are read"]
pub struct Responses<T>(Pin<Box<dyn Stream<Item = Result<T, Error>> + Send>>);

impl<T> Responses<T> {
    pub(crate) fn new(stream: impl Stream<Item = Result<T, Error>> + Send + 'static) -> Self {
        Self(Box::pin(stream))
    }

    /// Waits for the next response; `None` after the last one.
    ///
    /// # Errors
    ///
    /// See [`Client`](crate::Client#errors).
    pub async fn try_next(&mut self) -> Result<Option<T>, Error> {
        poll_fn(|context| self.0.as_mut().poll_next(context)).await.transpose()
    }
}

impl<T> Stream for Responses<T> {
    type Item = Result<T, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.as_mut().poll_next(context)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl<T> fmt::Debug for Responses<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Responses")
    }
}
