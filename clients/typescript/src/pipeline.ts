import { setTimeout as sleep } from "node:timers/promises";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import type { DescMessage, DescMethodUnary, MessageInitShape, MessageShape } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import type { Connection } from "./connection.js";
import { fromConnectError, TurntreeError } from "./errors.js";
import { ErrorReason } from "./gen/turntree/v1/error_reason_pb.js";
import { PipelineCallSchema, PipelineRequestSchema, PipelineResponseSchema } from "./gen/turntree/v1/pipeline_pb.js";
import type { PipelineCall, PipelineReply } from "./gen/turntree/v1/pipeline_pb.js";
import { errorOf, MessageStream } from "./message-stream.js";
import { Backoff, TIMER_MS_MAX } from "./retries.js";
import type { Authorization } from "./token.js";

const PATH = "/turntree.v1.PipelineService/Pipeline";
const CALLS_A_MESSAGE_MAX = 64;
const MESSAGE_BYTES_MAX = 4 * 1024 * 1024;
const CALL_BYTES_MAX = 1024 * 1024;

const CASE_BY_INPUT = new Map(
  PipelineCallSchema.fields.map((field) => [
    field.message?.typeName,
    field.localName as PipelineCall["request"]["case"],
  ]),
);

/** The stream broke before the answer came; another one may be opened from `again` on, by `performance.now()`. */
export class Broken extends Error {
  readonly reason: TurntreeError;
  readonly again: number;

  constructor(reason: TurntreeError, again: number) {
    super(reason.message);
    this.reason = reason;
    this.again = again;
  }
}

/** The stream is not for this call: it is too large to share it, or the server does not know such streams. */
export class NotCarried extends Error {}

/** A call without an answer. */
interface Call {
  resolve(answer: unknown): void;
  reject(reason: Error): void;
}

/**
 * Makes unary calls on one stream: what waits is sent together, and each answer goes to its caller.
 *
 * The stream is opened with the first call, and by the next one after it broke. All calls wait for the same stream, so that
 * a server that is gone is asked for it about once a second. Whether a call is tried again, its caller decides.
 */
export class Pipeline {
  readonly #connection: Connection;
  readonly #target: string;
  readonly #authorization: Authorization;
  readonly #closing: AbortSignal;
  readonly #backoff: Backoff;
  readonly #calls = new Map<bigint, Call>();
  readonly #unsent = new Map<bigint, Uint8Array>();
  #lastCallId = 0n;
  #stream: MessageStream | undefined;
  #isOpening = false;
  #isSending = false;
  #isUnknown = false;
  #openAt = 0;

  constructor(
    connection: Connection,
    target: string,
    authorization: Authorization,
    delayMsMax: number,
    closing: AbortSignal,
  ) {
    this.#connection = connection;
    this.#target = target;
    this.#authorization = authorization;
    this.#closing = closing;
    this.#backoff = new Backoff(delayMsMax);
  }

  /**
   * Make a call.
   *
   * @throws {@link TurntreeError} The call's own error.
   * @throws {@link Broken} There is no answer because the stream broke.
   * @throws {@link NotCarried} Nothing was sent; the call is to be made by itself.
   */
  async call<I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O>,
    message: MessageInitShape<I>,
    deadline: number,
    signal: AbortSignal,
  ): Promise<MessageShape<O>> {
    const name = CASE_BY_INPUT.get(method.input.typeName);
    if (this.#isUnknown || name === undefined) throw new NotCarried();
    const callId = ++this.#lastCallId;
    const timeoutMs = Math.min(Math.max(1, Math.ceil(deadline - performance.now())), TIMER_MS_MAX);
    const request = { case: name, value: message } as PipelineCall["request"];
    const calls = [{ callId, timeout: durationFromMs(timeoutMs), request }];
    const bytes = toBinary(PipelineRequestSchema, create(PipelineRequestSchema, { calls }));
    if (bytes.length > CALL_BYTES_MAX) throw new NotCarried();
    signal.throwIfAborted();
    return await new Promise((resolve, reject) => {
      const settle = () => {
        clearTimeout(timer);
        signal.removeEventListener("abort", abort);
        this.#calls.delete(callId);
        this.#unsent.delete(callId);
      };
      const call: Call = {
        resolve: (answer) => {
          settle();
          resolve(answer as MessageShape<O>);
        },
        reject: (reason) => {
          settle();
          reject(reason);
        },
      };
      const abort = () => call.reject(signal.reason as Error);
      const expire = () => call.reject(new ConnectError("the operation timed out", Code.DeadlineExceeded));
      // It also keeps the process alive, which the open stream does not.
      const timer = setTimeout(expire, timeoutMs);
      signal.addEventListener("abort", abort);
      this.#calls.set(callId, call);
      this.#unsent.set(callId, bytes);
      if (this.#stream === undefined) void this.#open(timeoutMs);
      else this.#sendSoon();
    });
  }

  /** Open the stream, once for all calls that wait for it; the first of them waits so long. */
  async #open(timeoutMs: number): Promise<void> {
    if (this.#isOpening) return;
    this.#isOpening = true;
    try {
      const delayMs = this.#openAt - performance.now();
      if (delayMs > 0) await sleep(delayMs, undefined, { ref: false });
      if (this.#calls.size === 0) return; // all callers have left, or the client is closed
      const headers = await this.#authorization(timeoutMs, this.#closing);
      if (this.#calls.size === 0) return;
      this.#stream = await MessageStream.open(this.#connection, PATH, headers, {
        message: (bytes) => this.#receive(bytes),
        drained: () => this.#send(),
        ended: (error) => this.#end(error),
      });
      this.#send();
    } catch (cause) {
      this.#end(cause);
    } finally {
      this.#isOpening = false;
    }
  }

  /** Send what waits when all that is ready to run now has run, so that calls that are asked for together travel together. */
  #sendSoon(): void {
    if (this.#isSending) return;
    this.#isSending = true;
    process.nextTick(() => this.#send());
  }

  #send(): void {
    this.#isSending = false;
    while (this.#stream !== undefined && this.#unsent.size > 0 && !this.#isSending) {
      const batch: Uint8Array[] = [];
      let size = 0;
      for (const [callId, bytes] of this.#unsent) {
        this.#unsent.delete(callId);
        batch.push(bytes);
        size += bytes.length;
        if (batch.length === CALLS_A_MESSAGE_MAX || size >= MESSAGE_BYTES_MAX) break;
      }
      // Messages with one call each are, one after the other, one message with all of the calls.
      this.#isSending = !this.#stream.write(batch);
    }
  }

  #receive(bytes: Uint8Array): void {
    this.#backoff.reset();
    for (const reply of fromBinary(PipelineResponseSchema, bytes).replies) this.#answer(reply);
  }

  #answer({ callId, response }: PipelineReply): void {
    const call = this.#calls.get(callId);
    if (call === undefined) return; // its caller has left
    if (response.case === "error") call.reject(fromConnectError(errorOf(response.value), this.#target));
    else if (response.case !== undefined) call.resolve(response.value);
    else call.reject(new TurntreeError("INTERNAL", ErrorReason.INTERNAL, `${this.#target}: a reply has no answer`));
  }

  /** Forget a stream that ended or could not be opened, and tell those who wait for answers from it. */
  #end(cause: unknown): void {
    this.#stream = undefined;
    this.#isSending = false;
    const reason = this.#reason(cause);
    for (const call of [...this.#calls.values()]) call.reject(reason);
  }

  #reason(cause: unknown): Error {
    const ended = new TurntreeError("UNAVAILABLE", ErrorReason.SERVER_STOPPING, `${this.#target}: the stream ended`);
    if (cause === undefined) return this.#broken(ended);
    // The token did not come in the time of the first caller; others may have more.
    if (cause instanceof TurntreeError) return cause.code === "DEADLINE_EXCEEDED" ? this.#broken(cause) : cause;
    const error = fromConnectError(cause, this.#target);
    this.#isUnknown = error.code === "UNIMPLEMENTED";
    if (this.#isUnknown) return new NotCarried();
    return error.code === "UNAVAILABLE" ? this.#broken(error) : error;
  }

  #broken(error: TurntreeError): Broken {
    this.#openAt = performance.now() + Math.max(this.#backoff.next(), error.retryAfterMs ?? 0);
    return new Broken(error, this.#openAt);
  }
}
