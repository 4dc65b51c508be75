import { setTimeout as sleep } from "node:timers/promises";
import { isRetryable, type TurntreeError } from "./errors.js";
import { ErrorReason } from "./gen/turntree/v1/error_reason_pb.js";

/** How long a call, or a stream, that finds the server unavailable is tried again, unless the client was told else. */
export const RETRY_MS_DEFAULT = 8_000;

/** A timer that is set for longer than this ends at once. */
export const TIMER_MS_MAX = 2 ** 31 - 1;

/** Must be left of a call's time for another try, or its deadline would hide why the one before it failed. */
const TRY_MS_MIN = 100;

const BUDGET = 100;
const BUDGET_AN_ANSWER = 0.1;
const BUDGET_A_MS = 0.001;
const DELAY_MS = 100;

/**
 * How many retries a client may still make, over all its calls.
 *
 * Each retry takes one. Each answer gives back a tenth and each second one, up to 100. So a server that refuses much of
 * what it is asked gets at most a tenth more of it, and one that refuses everything gets one call more a second.
 */
export class RetryBudget {
  #left = BUDGET;
  #refilled: number;
  readonly #clock: () => number;

  constructor(clock: () => number = () => performance.now()) {
    this.#clock = clock;
    this.#refilled = clock();
  }

  /** Note an answer. */
  answered(): void {
    this.#left = Math.min(BUDGET, this.#left + BUDGET_AN_ANSWER);
  }

  /** Take a retry from the budget; false when there is none left. */
  spend(): boolean {
    const now = this.#clock();
    this.#left = Math.min(BUDGET, this.#left + (now - this.#refilled) * BUDGET_A_MS);
    this.#refilled = now;
    if (this.#left < 1) return false;
    this.#left -= 1;
    return true;
  }
}

/** How long to wait before each of several tries: twice as long each time, and less by up to half at random. */
export class Backoff {
  #delayMs = DELAY_MS;
  readonly #delayMsMax: number;

  constructor(delayMsMax: number) {
    this.#delayMsMax = delayMsMax;
  }

  /** Begin with a short wait again. */
  reset(): void {
    this.#delayMs = DELAY_MS;
  }

  /** The next wait, in milliseconds. */
  next(): number {
    const delayMs = this.#delayMs;
    this.#delayMs = Math.min(2 * delayMs, this.#delayMsMax);
    return delayMs * (0.5 + Math.random() / 2);
  }
}

/** Whether and when one call, or one stream, is tried again. */
export class Retries {
  readonly #budget: RetryBudget;
  readonly #backoff: Backoff;
  readonly #lastTry: number;
  readonly #mayRenew: boolean;
  #forMs: number;
  #giveUp: number | undefined;
  #isRenewed = false;

  /**
   * @param budget - The client's.
   * @param forMs - How long to go on without an answer, in milliseconds.
   * @param delayMsMax - What the waits between the tries grow to, in milliseconds.
   * @param deadline - When the call ends in any case, by the clock of `performance.now()`.
   * @param mayRenew - Whether the next try shows another token, so that one that expired on the way is no end.
   */
  constructor(budget: RetryBudget, forMs: number, delayMsMax: number, deadline = Infinity, mayRenew = false) {
    this.#mayRenew = mayRenew;
    this.#budget = budget;
    this.#backoff = new Backoff(delayMsMax);
    this.#forMs = forMs;
    this.#lastTry = deadline - TRY_MS_MIN;
  }

  /** Note a message that brings a stream on. */
  heard(): void {
    this.#giveUp = undefined;
    this.#isRenewed = false;
    this.#backoff.reset();
  }

  /** From now on, go on for ever, and take nothing from the budget for it. */
  persist(): void {
    this.#forMs = Infinity;
  }

  /**
   * Wait for the time of the next try.
   *
   * @throws The error itself, when there is to be none.
   */
  async pause(error: TurntreeError, signal: AbortSignal): Promise<void> {
    // A token that was refused may have expired; where there was none to be had, there is none now.
    const isRefused = error.code === "UNAUTHENTICATED" && error.reason === ErrorReason.CREDENTIAL_INVALID;
    const isExpired = isRefused && this.#mayRenew && !this.#isRenewed;
    if (!isRetryable(error) && !isExpired) throw error;
    this.#isRenewed ||= isExpired;
    const now = performance.now();
    // What the server asks for, and not for all callers the same.
    const askedMs = (error.retryAfterMs ?? 0) * (1 + Math.random() / 2);
    const delayMs = Math.max(this.#backoff.next(), askedMs);
    if (now + delayMs >= (isExpired ? this.#lastTry : this.#end(now))) throw error;
    if (!isExpired && this.#forMs !== Infinity && !this.#budget.spend()) throw error;
    await sleep(delayMs, undefined, { signal });
  }

  /**
   * Note that the stream broke that all calls share. The next try is on another one, for which all of them wait; since
   * the server is asked for it once, it takes nothing from the budget.
   *
   * @throws The error itself, when the other stream comes too late.
   */
  goOnAt(again: number, error: TurntreeError): void {
    if (again >= this.#end(performance.now())) throw error;
  }

  /** When to give up, after an error now. */
  #end(now: number): number {
    this.#giveUp ??= now + this.#forMs;
    return Math.min(this.#giveUp, this.#lastTry);
  }
}
