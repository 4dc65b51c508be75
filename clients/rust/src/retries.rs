//! How a client tries again: later and later, at times of its own, and never more than its budget allows.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{self, Instant};

use crate::error::{Code, Error};
use crate::v1::ErrorReason;

/// How long a call, or a stream, that finds the server unavailable is tried again.
pub(crate) const RETRY_FOR_DEFAULT: Duration = Duration::from_secs(8);
/// What the waits between the tries of a call grow to.
pub(crate) const CALL_DELAY_MAX: Duration = Duration::from_secs(1);
/// What the waits between the tries of a stream grow to.
pub(crate) const STREAM_DELAY_MAX: Duration = Duration::from_secs(2);

/// Must be left of a call's time for another try, or its deadline would hide why the one before it failed.
const TRY_MIN: Duration = Duration::from_millis(100);

const DELAY_MIN: Duration = Duration::from_millis(100);
const BUDGET: f64 = 100.0;
const BUDGET_AN_ANSWER: f64 = 0.1;
const BUDGET_A_SECOND: f64 = 1.0;

/// What stands for no limit.
const FAR: Duration = Duration::from_hours(24 * 365 * 10);

/// The instant so long after another one.
pub(crate) fn after(begin: Instant, duration: Duration) -> Instant {
    begin + duration.min(FAR)
}

/// How many retries a client may still make, over all its calls.
///
/// Each retry takes one. Each answer gives back a tenth and each second one, up to 100. So a server that refuses much of
/// what it is asked gets at most a tenth more of it, and one that refuses everything gets one call more a second.
#[derive(Debug)]
pub(crate) struct Budget(Mutex<(f64, Instant)>);

impl Budget {
    pub(crate) fn new() -> Self {
        Self(Mutex::new((BUDGET, Instant::now())))
    }

    /// Notes an answer, whatever it was.
    pub(crate) fn answered(&self) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.0 = (state.0 + BUDGET_AN_ANSWER).min(BUDGET);
    }

    /// Takes a retry from the budget; false when there is none left.
    fn spend(&self) -> bool {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let (left, refilled) = *state;
        let left = (left + (now - refilled).as_secs_f64() * BUDGET_A_SECOND).min(BUDGET);
        let is_enough = left >= 1.0;
        *state = (if is_enough { left - 1.0 } else { left }, now);
        is_enough
    }
}

/// Waits that grow, and that differ from one client to the next.
pub(crate) struct Backoff {
    delay: Duration,
    delay_max: Duration,
}

impl Backoff {
    pub(crate) fn new(delay_max: Duration) -> Self {
        Self { delay: DELAY_MIN, delay_max }
    }

    /// Begins with short waits again.
    pub(crate) fn reset(&mut self) {
        self.delay = DELAY_MIN;
    }

    /// The next wait, or a longer one if the server asks for that.
    pub(crate) fn next(&mut self, asked: Duration) -> Duration {
        let own = self.delay.mul_f64(0.5 + fastrand::f64() / 2.0);
        let wait = if asked.is_zero() { own } else { asked.max(self.delay).mul_f64(1.0 + fastrand::f64() / 2.0) };
        self.delay = (2 * self.delay).min(self.delay_max);
        wait
    }
}

/// Whether and when something that failed is tried again.
pub(crate) struct Retries<'a> {
    budget: &'a Budget,
    retry_for: Option<Duration>,
    deadline: Option<Instant>,
    backoff: Backoff,
    give_up: Option<Instant>,
    may_renew: bool,
    is_first_failure: bool,
}

impl<'a> Retries<'a> {
    /// Retries for a time after the first failure, and while there is enough left before the deadline.
    pub(crate) fn new(budget: &'a Budget, retry_for: Duration, delay_max: Duration, deadline: Option<Instant>) -> Self {
        Self {
            budget,
            retry_for: Some(retry_for),
            deadline,
            backoff: Backoff::new(delay_max),
            give_up: None,
            may_renew: false,
            is_first_failure: true,
        }
    }

    /// Tries once more with a fresh token, when one has expired on the way.
    pub(crate) fn renewing(self, may_renew: bool) -> Self {
        Self { may_renew, ..self }
    }

    /// Notes that it goes on: the next failure is a first one again.
    pub(crate) fn succeeded(&mut self) {
        self.give_up = None;
        self.backoff.reset();
        self.is_first_failure = true;
    }

    /// Goes on for ever from now on, at the pace of the longest wait, whatever the budget.
    pub(crate) fn never_give_up(&mut self) {
        self.retry_for = None;
    }

    /// Waits for the time of the next try, or gives the error back when there is to be none.
    pub(crate) async fn pause(&mut self, error: Error) -> Result<(), Error> {
        let Some(asked) = self.delay(&error) else { return Err(error) };
        let wait = self.backoff.next(asked);
        if self.retry_for.is_some() && (self.is_late(after(Instant::now(), wait)) || !self.budget.spend()) {
            return Err(error);
        }
        time::sleep(wait).await;
        Ok(())
    }

    /// Agrees to a next try at an instant that is the same for all who failed together, or gives the error back. It
    /// takes nothing from the budget, because what is tried then is one thing for all of them.
    pub(crate) fn join(&mut self, error: Error, at: Instant) -> Result<(), Error> {
        // A token that did not come in the time of a call is asked for again by those who have more time.
        let is_slow_token = error.code() == Code::DeadlineExceeded;
        let is_again = self.delay(&error).is_some() || is_slow_token;
        if is_again && !self.is_late(at) { Ok(()) } else { Err(error) }
    }

    /// How long to wait at least before the next try, if there is to be one.
    fn delay(&mut self, error: &Error) -> Option<Duration> {
        // A token that was refused may have expired; where there was none to be had, there is none now.
        let is_refused = error.code() == Code::Unauthenticated && error.reason() == ErrorReason::CredentialInvalid;
        let renews = is_refused && self.may_renew && self.is_first_failure;
        self.is_first_failure = false;
        error.retry_delay().or(renews.then_some(Duration::ZERO))
    }

    /// Whether a try at this instant comes too late.
    fn is_late(&mut self, at: Instant) -> bool {
        let Some(retry_for) = self.retry_for else { return false };
        let give_up = *self.give_up.get_or_insert_with(|| after(Instant::now(), retry_for));
        at >= give_up || self.deadline.is_some_and(|deadline| at + TRY_MIN > deadline)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure() -> Error {
        Error::unreachable("h:1", "gone")
    }

    async fn tries(retries: &mut Retries<'_>) -> (usize, Duration) {
        let begin = Instant::now();
        let mut count = 0;
        while retries.pause(failure()).await.is_ok() {
            count += 1;
            assert!(count < 10_000);
        }
        (count, begin.elapsed())
    }

    /// Tries go on for the time that is set and no longer, with waits that grow to the longest.
    #[tokio::test(start_paused = true)]
    async fn for_a_time() {
        let budget = Budget::new();
        let mut retries = Retries::new(&budget, Duration::from_secs(8), CALL_DELAY_MAX, None);
        let (count, elapsed) = tries(&mut retries).await;
        assert!((8..=20).contains(&count), "{count}");
        assert!(elapsed > Duration::from_secs(6) && elapsed < Duration::from_secs(8), "{elapsed:?}");
    }

    /// What succeeded once has all the time again.
    #[tokio::test(start_paused = true)]
    async fn success_begins_anew() {
        let budget = Budget::new();
        let mut retries = Retries::new(&budget, Duration::from_secs(8), CALL_DELAY_MAX, None);
        tries(&mut retries).await;
        time::sleep(CALL_DELAY_MAX).await; // beyond the last wait, which might have been a short one
        assert!(retries.pause(failure()).await.is_err());
        retries.succeeded();
        assert!(retries.pause(failure()).await.is_ok());
    }

    /// No try begins in the last tenth of a second before the deadline, and one is made before that.
    #[tokio::test(start_paused = true)]
    async fn within_the_deadline() {
        let budget = Budget::new();
        let until = |duration| Some(Instant::now() + duration);
        let retries = |deadline| Retries::new(&budget, Duration::from_secs(8), CALL_DELAY_MAX, deadline);
        for _ in 0..100 {
            let (_, elapsed) = tries(&mut retries(until(Duration::from_secs(1)))).await;
            assert!(elapsed <= Duration::from_millis(900), "{elapsed:?}");
        }
        let at = Instant::now() + Duration::from_millis(900);
        assert_eq!(retries(until(Duration::from_millis(999))).join(failure(), at), Err(failure()));
        assert_eq!(retries(until(Duration::from_millis(1_001))).join(failure(), at), Ok(()));
    }

    /// The time that is set counts from the first failure, whenever the call began, and to its very end.
    #[tokio::test(start_paused = true)]
    async fn since_the_first_failure() {
        let budget = Budget::new();
        let begin = Instant::now();
        let second = Duration::from_secs(1);
        let retries = || Retries::new(&budget, second, CALL_DELAY_MAX, Some(begin + 30 * second));
        time::sleep(second / 2).await;
        let at = |millis| begin + Duration::from_millis(millis);
        assert_eq!(retries().join(failure(), at(1_499)), Ok(()));
        assert_eq!(retries().join(failure(), at(1_500)), Err(failure()));
    }

    /// All calls together make no more retries than the budget has, and answers give some back.
    #[tokio::test(start_paused = true)]
    async fn within_the_budget() {
        let budget = Budget::new();
        let spent = (0..1_000).filter(|_| budget.spend()).count();
        assert_eq!(spent, 100);
        let mut retries = Retries::new(&budget, Duration::from_secs(8), CALL_DELAY_MAX, None);
        assert_eq!(retries.pause(failure()).await, Err(failure()));
        (0..11).for_each(|_| budget.answered());
        assert!(budget.spend());
        assert!(!budget.spend());
        time::sleep(Duration::from_millis(1_001)).await;
        assert!(budget.spend());
        assert!(!budget.spend());
    }

    /// A token that has expired on the way is renewed once, and again only after a success.
    #[tokio::test(start_paused = true)]
    async fn expired_tokens() {
        let expired = || Error::new(Code::Unauthenticated, ErrorReason::CredentialInvalid, String::new(), []);
        let budget = Budget::new();
        let retries = || Retries::new(&budget, Duration::from_secs(8), CALL_DELAY_MAX, None);
        assert!(retries().pause(expired()).await.is_err());
        let mut renewing = retries().renewing(true);
        assert!(renewing.pause(expired()).await.is_ok());
        assert!(renewing.pause(expired()).await.is_err());
        renewing.succeeded();
        assert!(renewing.pause(expired()).await.is_ok());
    }

    /// A wait is at least as long as the server asks for, and what is not to be retried is not.
    #[tokio::test(start_paused = true)]
    async fn as_the_server_asks() {
        use tonic::{Code, Status};
        use tonic_types::{ErrorDetails, StatusExt};

        let budget = Budget::new();
        let mut retries = Retries::new(&budget, Duration::from_secs(8), CALL_DELAY_MAX, None);
        let mut details = ErrorDetails::new();
        details.set_error_info("ERROR_REASON_RATE_EXCEEDED", "turntree", [("limit".to_owned(), "1".to_owned())]);
        let refused = Status::with_error_details(Code::ResourceExhausted, "", details.clone());
        assert!(retries.pause(Error::from_status(&refused, "h:1")).await.is_err());
        details.set_retry_info(Some(Duration::from_secs(3)));
        let limited = Status::with_error_details(Code::ResourceExhausted, "", details);
        let begin = Instant::now();
        assert!(retries.pause(Error::from_status(&limited, "h:1")).await.is_ok());
        let elapsed = begin.elapsed();
        assert!(elapsed >= Duration::from_secs(3) && elapsed <= Duration::from_millis(4_501), "{elapsed:?}");
    }
}
