import { setTimeout as sleep } from "node:timers/promises";
import type { Address } from "./address.js";
import { invalid, TurntreeError } from "./errors.js";
import { ErrorReason } from "./gen/turntree/v1/error_reason_pb.js";
import { TIMER_MS_MAX } from "./retries.js";

const LIMIT = "a token of visible ASCII characters";

/** A token, or a function that gives a fresh one whenever a stream to the server is opened. */
export type Token = string | (() => string | Promise<string>);

/**
 * The headers that carry a token, made anew whenever they are sent. Their maker waits no longer than it is told to, and
 * only until a signal is aborted, whatever the caller's function does.
 *
 * @throws {@link TurntreeError} FIELD_INVALID, when the function gives what is no token; CREDENTIAL_REQUIRED, when it fails;
 *   DEADLINE_EXCEEDED, when it is too slow.
 */
export type Authorization = (timeoutMs: number, signal: AbortSignal) => Promise<Record<string, string>>;

/** Whether a token is another one each time. */
export function isFresh(token: Token | undefined): boolean {
  return typeof token === "function";
}

/**
 * What makes the headers that carry a token.
 *
 * @throws {@link TurntreeError} FIELD_INVALID, when a text is no token, or when it would go over a plain connection to
 *   another machine.
 */
export function authorization(token: Token | undefined, address: Address): Authorization {
  if (token === undefined) return () => Promise.resolve({});
  if (address.tls === undefined && !address.isLoopback) {
    const limit = "sent with TLS (turntrees://), or to this machine itself";
    const facts = { field: "token", value: address.target, limit };
    const message = `a token for ${address.target} must be ${limit}`;
    throw new TurntreeError("INVALID_ARGUMENT", ErrorReason.FIELD_INVALID, message, facts);
  }
  if (typeof token === "function") return async (...limits) => bearer(await inTime(ask(token), ...limits));
  const headers = bearer(token);
  return () => Promise.resolve(headers);
}

/** The header of a token; one that cannot be sent is refused without being shown. */
function bearer(token: unknown): Record<string, string> {
  if (typeof token !== "string" || !/^[!-~]+$/.test(token)) throw invalid("token", "(hidden)", LIMIT);
  return { authorization: `Bearer ${token}` };
}

async function ask(token: () => string | Promise<string>): Promise<string> {
  try {
    return await token();
  } catch (cause) {
    const message = `no token: ${cause instanceof Error ? cause.message : String(cause)}`;
    throw new TurntreeError("UNAUTHENTICATED", ErrorReason.CREDENTIAL_REQUIRED, message, {}, { cause });
  }
}

/** What a promise gives, unless the time is up or the signal is aborted before. */
async function inTime<T>(promise: Promise<T>, timeoutMs: number, signal: AbortSignal): Promise<T> {
  const waiting = new AbortController();
  const leave = () => waiting.abort();
  if (signal.aborted) leave();
  signal.addEventListener("abort", leave);
  const waitMs = Math.min(Math.max(1, timeoutMs), TIMER_MS_MAX);
  const end = sleep(waitMs, undefined, { signal: waiting.signal }).then(() => {
    throw new TurntreeError("DEADLINE_EXCEEDED", ErrorReason.DEADLINE_EXCEEDED, "no token came in time");
  });
  try {
    return await Promise.race([promise, end]);
  } finally {
    signal.removeEventListener("abort", leave);
    leave();
  }
}
