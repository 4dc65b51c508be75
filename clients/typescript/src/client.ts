/// <reference lib="esnext.disposable" preserve="true" />
import type { DescMessage, MessageInitShape, MessageShape } from "@bufbuild/protobuf";
import type { DescMethodUnary } from "@bufbuild/protobuf";
import { Calls, type CallOptions, type ClientOptions } from "./calls.js";
import { BranchService } from "./gen/turntree/v1/branch_pb.js";
import { SessionService } from "./gen/turntree/v1/session_pb.js";
import type {
  StreamItemsRequestSchema,
  StreamItemsResponse,
  WatchRequestSchema,
  WatchResponse,
} from "./gen/turntree/v1/session_pb.js";
import { TurnService } from "./gen/turntree/v1/turn_pb.js";
import type { StreamTurnsRequestSchema, StreamTurnsResponse } from "./gen/turntree/v1/turn_pb.js";
import { UsageService } from "./gen/turntree/v1/usage_pb.js";
import { SessionHandle } from "./session-handle.js";
import { streamItems, streamTurns, watch } from "./streams.js";

/**
 * A request: what {@link https://www.npmjs.com/package/@bufbuild/protobuf | create} takes, fields that are left out have
 * their default.
 */
export type RequestOf<D extends DescMessage> = Exclude<MessageInitShape<D>, MessageShape<D>>;

/** A method of the client: one call of one RPC. */
export type Method<I extends DescMessage, O extends DescMessage> = (
  request: RequestOf<I>,
  options?: CallOptions,
) => Promise<MessageShape<O>>;

/** How a stream ends. */
export type StreamOptions = Pick<CallOptions, "signal">;

/**
 * A client of a turntree server.
 *
 * It has one method for each RPC, which takes and returns the messages of `turntree.v1`. A call that finds the server
 * unavailable is tried again. A mutation without a `requestId` gets one, so that its tries have one effect. A stream goes on
 * where it was cut. Errors are of the type {@link TurntreeError}.
 *
 * A client is one connection, made by the first call and made again when it breaks. It is safe to share.
 */
export class TurntreeClient {
  readonly #calls: Calls;

  /**
   * @param address - `host:port`, `turntree://host:port` or, with TLS,
   *   `turntrees://host:port?ca_file=…&cert_file=…&key_file=…`, in which each option may be left out.
   * @param options - Who the client is, and how long it waits.
   * @throws {@link TurntreeError} FIELD_INVALID, when one of these is not right.
   */
  constructor(address: string, options: ClientOptions = {}) {
    this.#calls = new Calls(address, options);
  }

  /** End every open call and the connection. Calls after this are refused. */
  close(): void {
    this.#calls.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.close();
    return Promise.resolve();
  }

  /** A session with a current branch, `main` at first: its calls need neither be told. */
  session(sessionId: string): SessionHandle {
    return new SessionHandle(this, sessionId);
  }

  // Sessions

  /** Append items to a branch, in order, all or none. */
  readonly addItems = this.#unary(SessionService.method.addItems);

  /** Read a branch, or what of it is new to the caller; an answer holds about 1 MiB, see `more` in it and `streamItems`. */
  readonly getItems = this.#unary(SessionService.method.getItems);

  /** Remove the newest item of a branch and return it. */
  readonly popItem = this.#unary(SessionService.method.popItem);

  /** Replace the newest items of a branch by others, if the branch is exactly at `expectedCursor`. */
  readonly replaceItems = this.#unary(SessionService.method.replaceItems);

  /** Remove every item, branch and usage figure of a session; labels and expiry stay. */
  readonly clearSession = this.#unary(SessionService.method.clearSession);

  /** Describe one session. */
  readonly getSession = this.#unary(SessionService.method.getSession);

  /** List sessions, the last active first, page by page. */
  readonly listSessions = this.#unary(SessionService.method.listSessions);

  /** Set and remove labels of a session and its expiry, and create the session if it does not exist. */
  readonly updateSession = this.#unary(SessionService.method.updateSession);

  /** Remove a session with all that belongs to it. */
  readonly deleteSession = this.#unary(SessionService.method.deleteSession);

  /** Read a branch of any length in parts of about 1 MiB, each with the cursor that goes on after it. */
  streamItems(
    request: RequestOf<typeof StreamItemsRequestSchema>,
    options?: StreamOptions,
  ): AsyncGenerator<StreamItemsResponse> {
    return this.#calls.resumed(options?.signal, (...reading) => streamItems(this.#calls, request, ...reading));
  }

  /** Follow a branch: its state first, or what is new since `cursor`, then every change, for ever. */
  watch(request: RequestOf<typeof WatchRequestSchema>, options?: StreamOptions): AsyncGenerator<WatchResponse> {
    return this.#calls.resumed(options?.signal, (...reading) => watch(this.#calls, request, ...reading));
  }

  // Branches

  /** Fork a branch: the new one shows the source's items up to the chosen point, then goes its own way. */
  readonly createBranch = this.#unary(BranchService.method.createBranch);

  /** Describe one branch. */
  readonly getBranch = this.#unary(BranchService.method.getBranch);

  /** List the branches that hold items, the oldest first, page by page. */
  readonly listBranches = this.#unary(BranchService.method.listBranches);

  /** Remove a branch with its usage, and every item that no other branch shows; its id stays reserved. */
  readonly deleteBranch = this.#unary(BranchService.method.deleteBranch);

  /** Find what two branches share and where they part. */
  readonly compareBranches = this.#unary(BranchService.method.compareBranches);

  // Turns

  /** List the turns of a branch by their user items, page by page; see `turnRows`. */
  readonly listTurns = this.#unary(TurnService.method.listTurns);

  /** Find the turns whose user item contains a text, on one branch or on all, page by page; see `turnRows`. */
  readonly searchTurns = this.#unary(TurnService.method.searchTurns);

  /** Outline a branch: the types and tools of its items by turn, page by page; see `itemMetadataRows`. */
  readonly getConversationByTurns = this.#unary(TurnService.method.getConversationByTurns);

  /** Count tool calls by turn and tool, page by page; see `toolUsageRows`. */
  readonly listToolUsage = this.#unary(TurnService.method.listToolUsage);

  /** Read a branch turn by turn with all items, oldest first, whatever its length. */
  streamTurns(
    request: RequestOf<typeof StreamTurnsRequestSchema>,
    options?: StreamOptions,
  ): AsyncGenerator<StreamTurnsResponse> {
    return this.#calls.resumed(options?.signal, (...reading) => streamTurns(this.#calls, request, ...reading));
  }

  // Usage

  /** Record the usage of a branch's current turn, the one its last item belongs to. */
  readonly recordUsage = this.#unary(UsageService.method.recordUsage);

  /** Add up the usage of a session, or of one of its branches. */
  readonly getSessionUsage = this.#unary(UsageService.method.getSessionUsage);

  /** List usage by turn, with its JSON details, page by page. */
  readonly listTurnUsage = this.#unary(UsageService.method.listTurnUsage);

  /** Add up usage over sessions, in groups, page by page. */
  readonly summarizeUsage = this.#unary(UsageService.method.summarizeUsage);

  #unary<I extends DescMessage, O extends DescMessage>(method: DescMethodUnary<I, O>): Method<I, O> {
    return (request, options) => this.#calls.unary(method, request, options);
  }
}
