//! The errors of turntree: a canonical code, the reason, and the facts of the case.

use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::time::Duration;

use prost::Message;
pub use tonic::Code;
use tonic::Status;
use tonic_types::StatusExt;

use crate::v1::ErrorReason;

const DOMAIN: &str = "turntree";
const VALUE_CHARS_MAX: usize = 64;

/// Why a call failed.
///
/// Match on [`code`](Self::code) to know what to do, on [`reason`](Self::reason) to know why, and read the
/// [`facts`](Self::facts); the docs of each [`ErrorReason`] say which facts it has. Neither message nor facts hold the
/// content of items.
///
/// ```
/// use turntree::{Code, Error, ErrorReason};
///
/// fn explain(error: &Error) -> String {
///     match error.reason() {
///         ErrorReason::BranchNotFound => format!("no branch {}", error.fact("branch_id").unwrap_or("?")),
///         _ if error.code() == Code::Unavailable => "try again later".to_owned(),
///         _ => error.to_string(),
///     }
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message} ({})", .reason.as_str_name())]
pub struct Error {
    code: Code,
    reason: ErrorReason,
    facts: BTreeMap<String, String>,
    message: String,
    retry_after: Option<Duration>,
    is_from_turntree: bool,
}

impl Error {
    /// The canonical code of gRPC.
    #[must_use]
    pub fn code(&self) -> Code {
        self.code
    }

    /// The cause; `Unspecified` when a newer server gives one that this client does not know.
    #[must_use]
    pub fn reason(&self) -> ErrorReason {
        self.reason
    }

    /// What the cause is about, such as `field`, `value` and `limit`.
    #[must_use]
    pub fn facts(&self) -> &BTreeMap<String, String> {
        &self.facts
    }

    /// One of the facts.
    #[must_use]
    pub fn fact(&self, name: &str) -> Option<&str> {
        self.facts.get(name).map(String::as_str)
    }

    /// One sentence for people.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// How long the server asks to wait before a retry, where it says so.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// How long to wait at least before a retry; `None` when there is to be no retry.
    pub(crate) fn retry_delay(&self) -> Option<Duration> {
        self.retry_after.or((self.code == Code::Unavailable).then_some(Duration::ZERO))
    }

    /// Whether the server itself said so, with its reason and facts, or this client before it asked.
    pub(crate) fn is_from_turntree(&self) -> bool {
        self.is_from_turntree
    }

    pub(crate) fn new<const N: usize>(
        code: Code,
        reason: ErrorReason,
        message: String,
        facts: [(&str, &str); N],
    ) -> Self {
        let facts = facts.into_iter().map(|(name, fact)| (name.to_owned(), fact.to_owned())).collect();
        Self { code, reason, facts, message, retry_after: None, is_from_turntree: true }
    }

    /// The error of a value that the client cannot take.
    pub(crate) fn invalid(field: &str, value: &str, limit: &str) -> Self {
        let value: String = value.chars().take(VALUE_CHARS_MAX).collect();
        let message = format!("{field} is '{value}', and must be {limit}");
        let facts = [("field", field), ("value", value.as_str()), ("limit", limit)];
        Self::new(Code::InvalidArgument, ErrorReason::FieldInvalid, message, facts)
    }

    /// The error of a server that could not be reached.
    pub(crate) fn unreachable(target: &str, why: &str) -> Self {
        let message = format!("{target}: {why}");
        let error = Self::new(Code::Unavailable, ErrorReason::ServerUnreachable, message, [("target", target)]);
        Self { is_from_turntree: false, ..error }
    }

    /// The error of a call that had no answer in time.
    pub(crate) fn deadline(target: &str, timeout: Duration) -> Self {
        let message = format!("{target}: no answer in {timeout:?}");
        Self::new(Code::DeadlineExceeded, ErrorReason::DeadlineExceeded, message, [])
    }

    /// The error of a stream that ended although it never does.
    pub(crate) fn ended(target: &str) -> Self {
        Self::new(Code::Unavailable, ErrorReason::ServerStopping, format!("{target}: the stream ended"), [])
    }

    /// The error of a call among others on a stream, which is what the status of a call on its own would be.
    pub(crate) fn from_message(message: &tonic_types::Status, target: &str) -> Self {
        let details = message.encode_to_vec().into();
        Self::from_status(&Status::with_details(message.code.into(), &message.message, details), target)
    }

    /// The error that a server sent, or the one that describes why there was no answer from it.
    pub(crate) fn from_status(status: &Status, target: &str) -> Self {
        if let Some(info) = status.get_details_error_info().filter(|info| info.domain == DOMAIN) {
            return Self {
                code: status.code(),
                reason: ErrorReason::from_str_name(&info.reason).unwrap_or_default(),
                facts: info.metadata.into_iter().collect(),
                message: status.message().to_owned(),
                retry_after: status.get_details_retry_info().and_then(|retry| retry.retry_delay),
                is_from_turntree: true,
            };
        }
        let message = with_causes(status.message(), status);
        let (code, reason) = match status.code() {
            // A server of turntree says the last three with its ErrorInfo or never. Without one they are gRPC's own
            // words for a stream that was reset, or that ended while something was read or written.
            Code::Unavailable | Code::Internal | Code::Unknown | Code::Cancelled => {
                return Self::unreachable(target, &message);
            }
            Code::DeadlineExceeded => (Code::DeadlineExceeded, ErrorReason::DeadlineExceeded),
            Code::Unauthenticated => (Code::Unauthenticated, ErrorReason::CredentialInvalid),
            Code::ResourceExhausted => (Code::ResourceExhausted, ErrorReason::MessageTooLarge),
            code => (code, ErrorReason::Internal),
        };
        Self { is_from_turntree: false, ..Self::new(code, reason, format!("{target}: {message}"), []) }
    }
}

/// A text with those of the causes of an error that it does not have yet.
pub(crate) fn with_causes(text: &str, error: &dyn StdError) -> String {
    let mut message = text.to_owned();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !message.contains(&text) {
            message = if message.is_empty() { text } else { format!("{message}: {text}") };
        }
        cause = error.source();
    }
    message
}

#[cfg(test)]
mod tests {
    use tonic_types::ErrorDetails;

    use super::*;

    fn sent(code: Code, domain: &str, reason: &str) -> Status {
        let mut details = ErrorDetails::new();
        details.set_error_info(reason, domain, [("limit".to_owned(), "100 calls a second".to_owned())]);
        details.set_retry_info(Some(Duration::from_millis(1_500)));
        Status::with_error_details(code, "slow down", details)
    }

    /// A server's error keeps its code, reason, facts, message and the time to wait.
    #[test]
    fn from_turntree() {
        let status = sent(Code::ResourceExhausted, "turntree", "ERROR_REASON_RATE_EXCEEDED");
        let error = Error::from_status(&status, "h:1");
        assert_eq!((error.code(), error.reason()), (Code::ResourceExhausted, ErrorReason::RateExceeded));
        assert_eq!((error.message(), error.fact("limit")), ("slow down", Some("100 calls a second")));
        assert_eq!(error.retry_after(), Some(Duration::from_millis(1_500)));
        assert_eq!(error.to_string(), "slow down (ERROR_REASON_RATE_EXCEEDED)");
    }

    /// A reason that this client does not know leaves the code and the facts as they are.
    #[test]
    fn from_a_newer_server() {
        let error = Error::from_status(&sent(Code::Aborted, "turntree", "ERROR_REASON_OF_TOMORROW"), "h:1");
        assert_eq!((error.code(), error.reason()), (Code::Aborted, ErrorReason::Unspecified));
        assert_eq!(error.fact("limit"), Some("100 calls a second"));
    }

    /// What gRPC says of a connection that broke is a server that could not be reached, and is retried.
    #[test]
    fn broken_connections() {
        for code in [Code::Unavailable, Code::Internal, Code::Unknown, Code::Cancelled] {
            for status in [Status::new(code, "cut"), sent(code, "elsewhere", "ERROR_REASON_INTERNAL")] {
                let error = Error::from_status(&status, "h:1");
                assert_eq!((error.code(), error.reason()), (Code::Unavailable, ErrorReason::ServerUnreachable));
                assert_eq!(error.fact("target"), Some("h:1"));
                assert_eq!(error.retry_delay(), Some(Duration::ZERO));
            }
        }
    }

    /// The server's own INTERNAL is not retried, and a limit only when the server says after how long.
    #[test]
    fn what_is_retried() {
        let internal = Error::from_status(&sent(Code::Internal, "turntree", "ERROR_REASON_INTERNAL"), "h:1");
        assert_eq!(internal.reason(), ErrorReason::Internal);
        let limited = Error::from_status(&sent(Code::ResourceExhausted, "turntree", "?"), "h:1");
        assert_eq!(limited.retry_delay(), Some(Duration::from_millis(1_500)));
        let too_large = Error::from_status(&Status::resource_exhausted("too large"), "h:1");
        assert_eq!((too_large.reason(), too_large.retry_delay()), (ErrorReason::MessageTooLarge, None));
        let stopping = Error::new(Code::Unavailable, ErrorReason::ServerStopping, String::new(), []);
        assert_eq!(stopping.retry_delay(), Some(Duration::ZERO));
    }

    /// A value in an error is cut after 64 characters.
    #[test]
    fn long_values() {
        let error = Error::invalid("url", &"ü".repeat(100), "short");
        assert_eq!(error.fact("value").unwrap().chars().count(), 64);
    }
}
