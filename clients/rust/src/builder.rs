//! The options of a client.

use std::error::Error as StdError;
use std::future::Future;
use std::time::Duration;

use crate::address::Address;
use crate::client::Client;
use crate::error::{Error, with_causes};
use crate::retries::{Budget, CALL_DELAY_MAX, RETRY_FOR_DEFAULT, Retries};
use crate::token::Token;

const TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);

/// Makes a [`Client`] with options; [`Client::builder`] gives one.
#[derive(Debug)]
#[must_use = "a builder does nothing until it connects"]
pub struct Builder {
    url: String,
    token: Option<Token>,
    timeout: Duration,
    retry_for: Duration,
}

impl Builder {
    pub(crate) fn new(url: impl Into<String>) -> Self {
        Self { url: url.into(), token: None, timeout: TIMEOUT_DEFAULT, retry_for: RETRY_FOR_DEFAULT }
    }

    /// Sets the credential. Without one, the environment's `TURNTREE_TOKEN` is used, if there is one.
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(Token::Text(token.into()));
        self
    }

    /// Sets a function that gives the credential. It is asked for each stream that is opened: that on which the calls are
    /// made, those that are read, and what goes on after one of them was cut or its credential expired.
    ///
    /// When it fails, the call fails with `UNAUTHENTICATED` and the function's own error in the message. It is given up
    /// after the time that is set by [`timeout`](Self::timeout).
    pub fn token_source<F, Fut, E>(mut self, source: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<String, E>> + Send + 'static,
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        self.token = Some(Token::source(source));
        self
    }

    /// Sets how long a call may take, its retries included; 30 seconds, if nothing else is set. Streams have no limit,
    /// but a token for one may take no longer.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets how long a call, or a stream, that finds the server unavailable is tried again; 8 seconds, if nothing else
    /// is set.
    pub fn retry_for(mut self, retry_for: Duration) -> Self {
        self.retry_for = retry_for;
        self
    }

    /// Connects to the server.
    ///
    /// # Errors
    ///
    /// - `INVALID_ARGUMENT` with `FIELD_INVALID`: the address is none, one of its files cannot be read, the token is none,
    ///   or it would be sent to another machine without TLS.
    /// - `UNAVAILABLE` with `SERVER_UNREACHABLE`: no server answered in the time that is set by
    ///   [`retry_for`](Self::retry_for).
    pub async fn connect(self) -> Result<Client, Error> {
        let address = Address::parse(&self.url)?;
        let token = self.token.or_else(Token::from_environment).map(|token| token.within(self.timeout));
        if let Some(token) = &token {
            address.check_token()?;
            token.check()?;
        }
        let endpoint = address.endpoint()?;
        let budget = Budget::new();
        let mut retries = Retries::new(&budget, self.retry_for, CALL_DELAY_MAX, None);
        let channel = loop {
            match endpoint.connect().await {
                Ok(channel) => break channel,
                Err(error) => {
                    let why = with_causes("no connection", &error);
                    retries.pause(Error::unreachable(&address.target, &why)).await?;
                }
            }
        };
        Ok(Client::new(channel, address.target, token, budget, self.timeout, self.retry_for))
    }
}
