import { ConnectError } from "@connectrpc/connect";
import { ErrorInfoSchema, RetryInfoSchema } from "./gen/google/rpc/error_details_pb.js";
import { ErrorReason, ErrorReasonSchema } from "./gen/turntree/v1/error_reason_pb.js";

const DOMAIN = "turntree";

/** The canonical codes of gRPC, by number. */
const CODES = [
  "OK",
  "CANCELLED",
  "UNKNOWN",
  "INVALID_ARGUMENT",
  "DEADLINE_EXCEEDED",
  "NOT_FOUND",
  "ALREADY_EXISTS",
  "PERMISSION_DENIED",
  "RESOURCE_EXHAUSTED",
  "FAILED_PRECONDITION",
  "ABORTED",
  "OUT_OF_RANGE",
  "UNIMPLEMENTED",
  "INTERNAL",
  "UNAVAILABLE",
  "DATA_LOSS",
  "UNAUTHENTICATED",
] as const;

/** A canonical code of gRPC. */
export type ErrorCode = (typeof CODES)[number];

/**
 * The error of every call that a server refused or that no server answered.
 *
 * A call that its caller aborts rejects with the reason of the `AbortSignal` instead.
 */
export class TurntreeError extends Error {
  override readonly name = "TurntreeError";

  /** What kind of error it is: the canonical code of gRPC. */
  readonly code: ErrorCode;

  /** The cause; `UNSPECIFIED` for one that this version does not know. `ErrorReason[reason]` is its name. */
  readonly reason: ErrorReason;

  /** What the cause is about, such as `field`, `value` and `limit`. */
  readonly facts: Readonly<Record<string, string>>;

  /** After how many milliseconds the server lets the call be tried again, if it said so. */
  readonly retryAfterMs: number | undefined;

  constructor(
    code: ErrorCode,
    reason: ErrorReason,
    message: string,
    facts: Readonly<Record<string, string>> = {},
    options: ErrorOptions & { retryAfterMs?: number | undefined } = {},
  ) {
    super(message, options);
    this.code = code;
    this.reason = reason;
    this.facts = facts;
    this.retryAfterMs = options.retryAfterMs;
  }
}

/** The error of a value that turntree does not take. */
export function invalid(field: string, value: string, limit: string, options?: ErrorOptions): TurntreeError {
  const message = `${field} is '${value}', must be ${limit}`;
  return new TurntreeError("INVALID_ARGUMENT", ErrorReason.FIELD_INVALID, message, { field, value, limit }, options);
}

/** What an error tells of a value that can hold items: of what kind it is, and nothing of what it says. */
export function kindOf(value: unknown): string {
  if (value === null) return "null";
  return Array.isArray(value) ? "array" : typeof value;
}

/**
 * A whole number as messages hold it.
 *
 * @throws {@link TurntreeError} FIELD_INVALID, when it is none.
 */
export function whole(field: string, value: number): bigint {
  if (!Number.isInteger(value)) throw invalid(field, String(value), "a whole number");
  return BigInt(value);
}

/** The error of a call to a client that was closed. */
export function closed(): TurntreeError {
  return new TurntreeError("UNAVAILABLE", ErrorReason.SERVER_STOPPING, "the client is closed");
}

/** Whether the same call can be tried again: it had no effect, or has one effect by its `request_id`. */
export function isRetryable(error: TurntreeError): boolean {
  return error.code === "UNAVAILABLE" || (error.code === "RESOURCE_EXHAUSTED" && error.retryAfterMs !== undefined);
}

const REASON_BY_NAME = new Map<string, ErrorReason>(
  ErrorReasonSchema.values.map((value) => [value.name, value.number]),
);

/** The error that a server sent, or the one that says why there was no answer from it. */
export function fromConnectError(cause: unknown, target: string): TurntreeError {
  const error = ConnectError.from(cause);
  const code = CODES[error.code];
  const info = error.findDetails(ErrorInfoSchema).find((detail) => detail.domain === DOMAIN);
  if (info !== undefined) {
    const reason = REASON_BY_NAME.get(info.reason) ?? ErrorReason.UNSPECIFIED;
    const delay = error.findDetails(RetryInfoSchema)[0]?.retryDelay;
    const retryAfterMs = delay && Number(delay.seconds) * 1000 + delay.nanos / 1e6;
    return new TurntreeError(code, reason, error.rawMessage, info.metadata, { cause, retryAfterMs });
  }
  const message = `${target}: ${error.rawMessage || code}`;
  switch (code) {
    case "DEADLINE_EXCEEDED":
      return new TurntreeError(code, ErrorReason.DEADLINE_EXCEEDED, message, {}, { cause });
    case "RESOURCE_EXHAUSTED":
      return new TurntreeError(code, ErrorReason.MESSAGE_TOO_LARGE, message, {}, { cause });
    // A server of turntree says these with its ErrorInfo or never. Without one they are the words of gRPC and of HTTP/2
    // for a connection that could not be made or that broke, and for a server on its way out.
    case "UNAVAILABLE":
    case "INTERNAL":
    case "UNKNOWN":
    case "CANCELLED":
    case "ABORTED":
      return new TurntreeError("UNAVAILABLE", ErrorReason.SERVER_UNREACHABLE, message, { target }, { cause });
    case "UNAUTHENTICATED":
      return new TurntreeError(code, ErrorReason.CREDENTIAL_INVALID, message, {}, { cause });
    default:
      return new TurntreeError(code, ErrorReason.INTERNAL, message, {}, { cause });
  }
}
