package dev.turntree;

import io.grpc.Status;
import java.time.Duration;
import java.util.Optional;
import java.util.concurrent.ThreadLocalRandom;

/** Whether and when something that failed is tried again: later and later, at times of its own. */
final class Retries {
  static final Duration CALL_DELAY_MAX = Duration.ofSeconds(1);
  static final Duration STREAM_DELAY_MAX = Duration.ofSeconds(2);
  static final long NEVER = -1;

  /** Must be left of a call's time for another try, or its deadline would hide the error before. */
  private static final long TRY_MIN_NANOS = 100_000_000;

  private final Budget budget;
  private final long retryForNanos;
  private final long deadlineNanos;
  private final Backoff backoff;
  private final boolean mayRenew;
  private long failedAtNanos;
  private boolean isFailing;
  private boolean isRenewed;
  private boolean isEndless;

  /**
   * Retries for a time after the first failure, of a call that ends {@code timeout} from now.
   *
   * @param mayRenew whether the next try may show another token, so that one that has expired on
   *     the way is no end
   */
  Retries(Budget budget, Duration retryFor, Duration delayMax, Duration timeout, boolean mayRenew) {
    this.budget = budget;
    this.retryForNanos = retryFor.toNanos();
    this.backoff = new Backoff(delayMax);
    this.deadlineNanos = System.nanoTime() + timeout.toNanos();
    this.mayRenew = mayRenew;
  }

  /** It goes on: the next failure is a first one again. */
  void succeeded() {
    isFailing = false;
    isRenewed = false;
    backoff.reset();
  }

  /** Goes on for ever from now on, at the pace of the longest wait, whatever the budget. */
  void neverGiveUp() {
    isEndless = true;
  }

  /** Whether there may be another try: of a token that was refused one, until it succeeds. */
  boolean isAgain(TurntreeException error) {
    return error.code() == Status.Code.UNAUTHENTICATED
        ? mayRenew && !isRenewed
        : error.isRetryable();
  }

  /** How long to wait for the next try, in nanoseconds; {@link #NEVER} when there is to be none. */
  long waitNanos(TurntreeException error) {
    if (!isAgain(error)) {
      return NEVER;
    }
    isRenewed |= error.code() == Status.Code.UNAUTHENTICATED;
    long wait = backoff.nextNanos(error.retryAfter());
    if (isEndless) {
      return wait;
    }
    return isInTime(wait) && budget.spend() ? wait : NEVER;
  }

  /** Whether there is still time to try again after a wait, in nanoseconds. */
  boolean isInTime(long wait) {
    long now = System.nanoTime();
    if (!isFailing) {
      isFailing = true;
      failedAtNanos = now;
    }
    return now - failedAtNanos + wait < retryForNanos && hasTime(now + wait);
  }

  /** Whether a try has enough time before the deadline. */
  boolean hasTime(long atNanos) {
    return atNanos + TRY_MIN_NANOS - deadlineNanos <= 0;
  }

  /** Waits that grow, at times of their own. */
  static final class Backoff {
    private static final long MIN_NANOS = 100_000_000;

    private final long maxNanos;
    private long delayNanos = MIN_NANOS;

    Backoff(Duration max) {
      maxNanos = max.toNanos();
    }

    void reset() {
      delayNanos = MIN_NANOS;
    }

    /** The next wait, in nanoseconds: not shorter than one that the server asked for. */
    long nextNanos(Optional<Duration> asked) {
      double random = ThreadLocalRandom.current().nextDouble();
      long own = (long) (delayNanos * (0.5 + random / 2));
      long wait =
          asked
              .map(time -> (long) (Math.max(time.toNanos(), delayNanos) * (1 + random / 2)))
              .orElse(own);
      delayNanos = Math.min(2 * delayNanos, maxNanos);
      return wait;
    }
  }

  /**
   * How many retries a client may still make, over all its calls. Each retry takes one, each answer
   * gives back a tenth and each second one, up to 100: a server that refuses everything gets one
   * call more a second.
   */
  static final class Budget {
    private static final double MAX = 100;
    private double left = MAX;
    private long refilledNanos = System.nanoTime();

    synchronized void answered() {
      left = Math.min(MAX, left + 0.1);
    }

    synchronized boolean spend() {
      long now = System.nanoTime();
      left = Math.min(MAX, left + (now - refilledNanos) / 1e9);
      refilledNanos = now;
      if (left < 1) {
        return false;
      }
      left -= 1;
      return true;
    }
  }
}
