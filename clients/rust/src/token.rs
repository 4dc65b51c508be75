//! The credential of a client: a text, or a function that gives a fresh one whenever it is asked.

use std::env;
use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time;
use tonic::metadata::{Ascii, MetadataValue};

use crate::error::{Code, Error, with_causes};
use crate::v1::ErrorReason;

/// What errors show in place of a token.
pub(crate) const HIDDEN: &str = "(hidden)";

const VARIABLE: &str = "TURNTREE_TOKEN";

type BoxError = Box<dyn StdError + Send + Sync>;
type Fresh = Pin<Box<dyn Future<Output = Result<String, BoxError>> + Send>>;

/// Where the token of a call comes from.
#[derive(Clone)]
pub(crate) enum Token {
    Text(String),
    /// A function, and how long it may take.
    Source(Arc<dyn Fn() -> Fresh + Send + Sync>, Duration),
}

impl fmt::Debug for Token {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Token")
    }
}

impl Token {
    pub(crate) fn source<F, Fut, E>(source: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<String, E>> + Send + 'static,
        E: Into<BoxError>,
    {
        let ask = move || -> Fresh {
            let token = source();
            Box::pin(async move { token.await.map_err(Into::into) })
        };
        Self::Source(Arc::new(ask), Duration::MAX)
    }

    /// The same token with a bound on the time of its function, which a stream itself does not have.
    pub(crate) fn within(self, timeout: Duration) -> Self {
        match self {
            Self::Source(source, _) => Self::Source(source, timeout),
            text @ Self::Text(_) => text,
        }
    }

    /// The token of the environment, if there is one.
    pub(crate) fn from_environment() -> Option<Self> {
        env::var(VARIABLE).ok().filter(|token| !token.is_empty()).map(Self::Text)
    }

    /// Whether it may be another token each time.
    pub(crate) fn is_fresh(&self) -> bool {
        matches!(self, Self::Source(..))
    }

    /// Refuses a text that is no token; what a function gives is checked when it gives it.
    pub(crate) fn check(&self) -> Result<(), Error> {
        match self {
            Self::Text(token) => header(token).map(drop),
            Self::Source(..) => Ok(()),
        }
    }

    /// The value of the header `authorization`.
    pub(crate) async fn authorization(&self) -> Result<MetadataValue<Ascii>, Error> {
        let token = match self {
            Self::Text(token) => token.clone(),
            Self::Source(source, timeout) => {
                let Ok(token) = time::timeout(*timeout, source()).await else {
                    let message = format!("no token came in {timeout:?}");
                    return Err(Error::new(Code::DeadlineExceeded, ErrorReason::DeadlineExceeded, message, []));
                };
                token.map_err(|error| {
                    let message = format!("no token: {}", with_causes(&error.to_string(), error.as_ref()));
                    Error::new(Code::Unauthenticated, ErrorReason::CredentialRequired, message, [])
                })?
            }
        };
        header(&token)
    }
}

fn header(token: &str) -> Result<MetadataValue<Ascii>, Error> {
    let refused = || Error::invalid("token", HIDDEN, "a token of visible ASCII characters");
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(refused());
    }
    let mut value = MetadataValue::try_from(format!("Bearer {token}")).map_err(|_| refused())?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A token is sent as a bearer's, and a source is asked each time.
    #[tokio::test]
    async fn bearer() {
        let text = Token::Text("t1".to_owned());
        assert_eq!(text.authorization().await.unwrap().to_str().unwrap(), "Bearer t1");
        let source = Token::source(|| async { Ok::<_, BoxError>("t2".to_owned()) });
        assert_eq!(source.authorization().await.unwrap().to_str().unwrap(), "Bearer t2");
    }

    /// A source that fails, and a token that is no header, fail the call without showing the token.
    #[tokio::test]
    async fn bad_tokens() {
        let failing = Token::source(|| async { Err::<String, _>("the vault is sealed") });
        let error = failing.authorization().await.unwrap_err();
        assert_eq!(error.code(), Code::Unauthenticated);
        assert!(error.message().contains("the vault is sealed"));
        for token in ["line\nbreak", "", "line break", "Zürich"] {
            let error = Token::Text(token.to_owned()).authorization().await.unwrap_err();
            assert_eq!((error.code(), error.fact("field")), (Code::InvalidArgument, Some("token")));
            assert!(!error.to_string().contains("line"));
        }
        assert!(!format!("{:?}", Token::Text("secret".to_owned())).contains("secret"));
    }
}
