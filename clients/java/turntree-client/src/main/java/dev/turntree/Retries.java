package dev.turntree;

import java.time.Duration;
import java.util.concurrent.ThreadLocalRandom;

/** Whether and when something that failed is tried again: later and later, at times of its own. */
final class Retries {
  static final Duration CALL_DELAY_MAX = Duration.ofSeconds(1);
  static final Duration STREAM_DELAY_MAX = Duration.ofSeconds(2);
  static final long NEVER = -1;
  private static final long DELAY_MIN_NANOS = 100_000_000;

  private final Budget budget;
  private final long retryForNanos;
  private final long deadlineNanos;
  private final long delayMaxNanos;
  private long delayNanos = DELAY_MIN_NANOS;
  private long failedAtNanos;
  private boolean isFailing;
  private boolean isEndless;

  /** Retries for a time after the first failure, and not beyond {@code timeout} from now. */
  Retries(Budget budget, Duration retryFor, Duration delayMax, Duration timeout) {
    this.budget = budget;
    this.retryForNanos = retryFor.toNanos();
    this.delayMaxNanos = delayMax.toNanos();
    this.deadlineNanos = System.nanoTime() + timeout.toNanos();
  }

  /** It goes on: the next failure is a first one again. */
  void succeeded() {
    isFailing = false;
    delayNanos = DELAY_MIN_NANOS;
  }

  /** Goes on for ever from now on, at the pace of the longest wait, whatever the budget. */
  void neverGiveUp() {
    isEndless = true;
  }

  /** How long to wait for the next try, in nanoseconds; {@link #NEVER} when there is to be none. */
  long waitNanos(TurntreeException error) {
    if (!error.isRetryable()) {
      return NEVER;
    }
    double random = ThreadLocalRandom.current().nextDouble();
    long own = (long) (delayNanos * (0.5 + random / 2));
    long wait =
        error
            .retryAfter()
            .map(asked -> (long) (Math.max(asked.toNanos(), delayNanos) * (1 + random / 2)))
            .orElse(own);
    delayNanos = Math.min(2 * delayNanos, delayMaxNanos);
    if (isEndless) {
      return wait;
    }
    long now = System.nanoTime();
    if (!isFailing) {
      isFailing = true;
      failedAtNanos = now;
    }
    boolean isTooLate = now - failedAtNanos + wait >= retryForNanos;
    return isTooLate || now + wait - deadlineNanos >= 0 || !budget.spend() ? NEVER : wait;
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
