import { create, toBinary, type DescMessage, type MessageInitShape, type MessageShape } from "@bufbuild/protobuf";
import type { DescMethodServerStreaming, DescMethodUnary } from "@bufbuild/protobuf";
import type { Transport } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { parseAddress, readTls } from "./address.js";
import { Connection } from "./connection.js";
import { closed, fromConnectError, invalid, TurntreeError } from "./errors.js";
import { Broken, NotCarried, Pipeline } from "./pipeline.js";
import { newRequestId } from "./request-ids.js";
import { checkRequest } from "./requests.js";
import { Retries, RETRY_MS_DEFAULT, RetryBudget } from "./retries.js";
import { follow } from "./signals.js";
import { type Authorization, authorization, isFresh, type Token } from "./token.js";

const TIMEOUT_MS_DEFAULT = 30_000;
const DELAY_MS_MAX = 1_000;
const STREAM_DELAY_MS_MAX = 2_000;

/** The most that gRPC's header for it holds, which has eight digits. */
const ALONE_TIMEOUT_MS_MAX = 99_999_999;

/** How a client behaves. */
export interface ClientOptions {
  /** Who the client is; by default the environment's `TURNTREE_TOKEN`, if there is one. */
  token?: Token;

  /**
   * How long a call may take, its retries included, in milliseconds; by default 30,000. Streams have no limit, but a token
   * for one may take no longer.
   */
  timeoutMs?: number;

  /** How long a call that finds no server is tried again, in milliseconds; by default 8,000. */
  retryMs?: number;
}

/** How one call behaves. */
export interface CallOptions {
  /** How long this call may take, its retries included, in milliseconds. */
  timeoutMs?: number;

  /** Aborts the call; it rejects with the signal's reason. */
  signal?: AbortSignal;
}

/** The one way of every call to the server: deadline, credential, request id, retries and errors are here and nowhere else. */
export class Calls {
  readonly #target: string;
  readonly #connection: Connection;
  readonly #transport: Transport;
  readonly #pipeline: Pipeline;
  readonly #authorization: Authorization;
  readonly #mayRenew: boolean;
  readonly #timeoutMs: number;
  readonly #retryMs: number;
  readonly #budget = new RetryBudget();
  readonly #open = new Set<AbortController>();
  readonly #closing = new AbortController();

  constructor(address: string, options: ClientOptions) {
    const parsed = parseAddress(address);
    const baseUrl = `${parsed.tls === undefined ? "http" : "https"}://${parsed.target}`;
    this.#target = parsed.target;
    const { TURNTREE_TOKEN: set } = process.env;
    const token = options.token ?? (set === "" ? undefined : set);
    this.#authorization = authorization(token, parsed);
    this.#mayRenew = isFresh(token);
    this.#timeoutMs = positive("timeoutMs", options.timeoutMs ?? TIMEOUT_MS_DEFAULT);
    this.#retryMs = positive("retryMs", options.retryMs ?? RETRY_MS_DEFAULT);
    this.#connection = new Connection(baseUrl, parsed.tls && readTls(parsed.tls));
    this.#transport = createGrpcTransport({ baseUrl, sessionManager: this.#connection });
    const closing = this.#closing.signal;
    this.#pipeline = new Pipeline(this.#connection, this.#target, this.#authorization, DELAY_MS_MAX, closing);
  }

  /** Make a unary call. */
  async unary<I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O>,
    request: MessageInitShape<I>,
    options: CallOptions = {},
  ): Promise<MessageShape<O>> {
    const deadline = performance.now() + positive("timeoutMs", options.timeoutMs ?? this.#timeoutMs);
    checkRequest(method.input, request);
    const message = withRequestId(method.input, request);
    const retries = new Retries(this.#budget, this.#retryMs, DELAY_MS_MAX, deadline, this.#mayRenew);
    return await this.#linked(options.signal, async (signal) => {
      for (;;) {
        try {
          const answer = await this.#attempt(method, message, deadline, signal);
          this.#budget.answered();
          return answer;
        } catch (cause) {
          if (cause instanceof Broken) retries.goOnAt(cause.again, cause.reason);
          else await retries.pause(this.#error(cause, method.input, message), signal);
        }
      }
    });
  }

  /** Try a unary call, on the stream that all share or, if that does not carry it, by itself. */
  async #attempt<I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O>,
    message: MessageInitShape<I>,
    deadline: number,
    signal: AbortSignal,
  ): Promise<MessageShape<O>> {
    try {
      return await this.#pipeline.call(method, message, deadline, signal);
    } catch (cause) {
      if (!(cause instanceof NotCarried)) throw cause;
    }
    const headers = await this.#authorization(deadline - performance.now(), signal);
    const timeoutMs = Math.min(Math.max(1, Math.ceil(deadline - performance.now())), ALONE_TIMEOUT_MS_MAX);
    return (await this.#transport.unary(method, signal, timeoutMs, headers, message)).message;
  }

  /** Read a stream until it ends or is cut; who leaves it ends it. See `resumed` for one that goes on. */
  async *stream<I extends DescMessage, O extends DescMessage>(
    method: DescMethodServerStreaming<I, O>,
    request: MessageInitShape<I>,
    signal: AbortSignal,
  ): AsyncGenerator<MessageShape<O>> {
    checkRequest(method.input, request);
    const headers = await this.#authorization(this.#timeoutMs, signal);
    const reading = new AbortController();
    const leave = () => reading.abort(signal.reason);
    signal.addEventListener("abort", leave);
    try {
      signal.throwIfAborted();
      const requests = one(request);
      const response = await this.#transport.stream(method, reading.signal, undefined, headers, requests);
      for await (const message of response.message) {
        this.#budget.answered();
        yield message;
      }
    } catch (cause) {
      throw this.#error(cause, method.input, request);
    } finally {
      signal.removeEventListener("abort", leave);
      reading.abort();
    }
  }

  /** Run what reads streams, with the signal that ends it and with what says whether to ask for another one. */
  async *resumed<T>(
    signal: AbortSignal | undefined,
    read: (signal: AbortSignal, retries: Retries) => AsyncGenerator<T>,
  ): AsyncGenerator<T> {
    const { controller, unlink } = this.#link(signal);
    try {
      const retries = new Retries(this.#budget, this.#retryMs, STREAM_DELAY_MS_MAX, Infinity, this.#mayRenew);
      yield* read(controller.signal, retries);
    } catch (error) {
      throw this.#reason(error, signal);
    } finally {
      unlink();
    }
  }

  /** End every call, and the connection. */
  close(): void {
    this.#closing.abort();
    for (const controller of this.#open) controller.abort();
    this.#connection.abort();
  }

  /** Run a call with a signal that is aborted when the caller's is and when the client is closed. */
  async #linked<T>(signal: AbortSignal | undefined, call: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const { controller, unlink } = this.#link(signal);
    try {
      return await call(controller.signal);
    } catch (error) {
      throw this.#reason(error, signal);
    } finally {
      unlink();
    }
  }

  #link(signal: AbortSignal | undefined): { controller: AbortController; unlink: () => void } {
    signal?.throwIfAborted();
    if (this.#closing.signal.aborted) throw closed();
    const controller = new AbortController();
    const unfollow = signal && follow(signal, controller);
    this.#open.add(controller);
    return {
      controller,
      unlink: () => {
        unfollow?.();
        this.#open.delete(controller);
      },
    };
  }

  /** What the caller is told of an error. */
  #reason(error: unknown, signal: AbortSignal | undefined): unknown {
    if (signal?.aborted) return signal.reason;
    return this.#closing.signal.aborted ? closed() : error;
  }

  /** What a call failed with; what cannot be sent is the caller's fault and nobody else's. */
  #error<I extends DescMessage>(cause: unknown, input: I, request: MessageInitShape<I>): TurntreeError {
    if (cause instanceof TurntreeError) return cause;
    const error = fromConnectError(cause, this.#target);
    if (error.facts.target === undefined) return error;
    try {
      toBinary(input, create(input, request));
    } catch (unsendable) {
      const reason = unsendable instanceof Error ? unsendable.message : String(unsendable);
      return invalid(input.typeName, "the request", `a message that can be sent (${reason})`);
    }
    return error;
  }
}

function withRequestId<I extends DescMessage>(input: I, request: MessageInitShape<I>): MessageInitShape<I> {
  const given = request as { requestId?: string };
  return "requestId" in input.field && !given.requestId ? { ...request, requestId: newRequestId() } : request;
}

function positive(field: string, value: number): number {
  if (typeof value !== "number" || !(value >= 0))
    throw invalid(field, String(value), "a number of milliseconds that is not negative");
  return value;
}

async function* one<T>(value: T): AsyncGenerator<T> {
  yield await Promise.resolve(value);
}
