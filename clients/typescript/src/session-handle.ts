import type { DescMessage } from "@bufbuild/protobuf";
import type { CallOptions } from "./calls.js";
import type { RequestOf, StreamOptions, TurntreeClient } from "./client.js";
import type { CreateBranchRequestSchema, CreateBranchResponse } from "./gen/turntree/v1/branch_pb.js";
import type { BranchPointer, ItemsDelta } from "./gen/turntree/v1/item_pb.js";
import type {
  ClearSessionResponse,
  GetItemsRequestSchema,
  GetItemsResponse,
  StreamItemsRequestSchema,
  StreamItemsResponse,
  WatchRequestSchema,
  WatchResponse,
} from "./gen/turntree/v1/session_pb.js";
import type { StreamTurnsRequestSchema, StreamTurnsResponse } from "./gen/turntree/v1/turn_pb.js";

/** A request within a session: the session is the handle's, and so is the branch, unless the request names another. */
export type Within<D extends DescMessage> = Omit<RequestOf<D>, "sessionId">;

/** Where a handle stands: a branch, and the generation of the session it is known from, once an answer told it. */
export type Pointer = Pick<BranchPointer, "branchId" | "generation">;

interface Answer {
  branch?: BranchPointer | undefined;
}

const MAIN: Pointer = { branchId: "main" };

/**
 * A session and its current branch.
 *
 * The current branch is this object's own: other handles of the same session stand where they stand. When anybody clears
 * the session, the next answer says so, and the handle is at `main` then.
 */
export class SessionHandle {
  readonly sessionId: string;
  readonly #client: TurntreeClient;
  #branch = MAIN;

  constructor(client: TurntreeClient, sessionId: string) {
    this.#client = client;
    this.sessionId = sessionId;
  }

  /** The current branch. */
  get branch(): Pointer {
    return this.#branch;
  }

  /** As {@link TurntreeClient.addItems}. */
  readonly addItems = this.#within((client) => client.addItems);

  /** As {@link TurntreeClient.popItem}. */
  readonly popItem = this.#within((client) => client.popItem);

  /** As {@link TurntreeClient.replaceItems}. */
  readonly replaceItems = this.#within((client) => client.replaceItems);

  /** As {@link TurntreeClient.listBranches}. */
  readonly listBranches = this.#within((client) => client.listBranches);

  /** As {@link TurntreeClient.listTurns}. */
  readonly listTurns = this.#within((client) => client.listTurns);

  /** As {@link TurntreeClient.searchTurns}. */
  readonly searchTurns = this.#within((client) => client.searchTurns);

  /** As {@link TurntreeClient.getConversationByTurns}. */
  readonly getConversationByTurns = this.#within((client) => client.getConversationByTurns);

  /** As {@link TurntreeClient.listToolUsage}. */
  readonly listToolUsage = this.#within((client) => client.listToolUsage);

  /** As {@link TurntreeClient.recordUsage}. */
  readonly recordUsage = this.#within((client) => client.recordUsage);

  /** As {@link TurntreeClient.listTurnUsage}. */
  readonly listTurnUsage = this.#within((client) => client.listTurnUsage);

  /** As {@link TurntreeClient.getItems}. */
  async getItems(request: Within<typeof GetItemsRequestSchema> = {}, options?: CallOptions): Promise<GetItemsResponse> {
    const response = await this.#client.getItems(this.#placed(request), options);
    this.#follow(request, response.delta);
    return response;
  }

  /** As {@link TurntreeClient.clearSession}; the current branch is `main` then. */
  async clear(options?: CallOptions): Promise<ClearSessionResponse> {
    const response = await this.#client.clearSession({ sessionId: this.sessionId }, options);
    this.#branch = response.branch ?? MAIN;
    return response;
  }

  /** As {@link TurntreeClient.deleteSession}; the current branch is `main` then. */
  async delete(options?: CallOptions): Promise<void> {
    await this.#client.deleteSession({ sessionId: this.sessionId }, options);
    this.#branch = MAIN;
  }

  /** As {@link TurntreeClient.createBranch}; the new branch is the current one then. */
  async createBranch(
    request: Within<typeof CreateBranchRequestSchema>,
    options?: CallOptions,
  ): Promise<CreateBranchResponse> {
    const response = await this.#client.createBranch(this.#placed(request), options);
    this.#follow(request, { branch: response.source });
    if (response.branch !== undefined) this.#switch(response.branch);
    return response;
  }

  /**
   * Make a branch the current one.
   *
   * @throws {@link TurntreeError} BRANCH_NOT_FOUND, when it holds no items and is not `main`.
   */
  async switchTo(branchId: string, options?: CallOptions): Promise<void> {
    const { branch } = await this.#client.getBranch({ sessionId: this.sessionId, branchId }, options);
    if (branch !== undefined) this.#switch(branch);
  }

  /** As {@link TurntreeClient.streamItems}. */
  streamItems(
    request: Within<typeof StreamItemsRequestSchema> = {},
    options?: StreamOptions,
  ): AsyncGenerator<StreamItemsResponse> {
    const responses = this.#client.streamItems(this.#placed(request), options);
    return this.#followed(request, responses, (response) => response.delta);
  }

  /**
   * Read a branch whole, in parts of about 1 MiB: the first as {@link getItems}, on the stream that all calls share, and
   * only where there is more the others as {@link streamItems}, which opens a stream of its own.
   */
  async *readItems(
    request: Within<typeof StreamItemsRequestSchema> = {},
    options?: StreamOptions,
  ): AsyncGenerator<ItemsDelta> {
    const { delta: first } = await this.getItems(request, options);
    if (first === undefined) return;
    yield first;
    if (!first.more) return;
    const place = { ...(first.branch && { branch: first.branch }), cursor: first.cursor };
    const rest = this.#client.streamItems({ ...this.#placed(request), ...place }, options);
    for await (const { delta } of this.#followed(request, rest, (response) => response.delta)) {
      if (delta !== undefined) yield delta;
    }
  }

  /** As {@link TurntreeClient.watch}. */
  watch(request: Within<typeof WatchRequestSchema> = {}, options?: StreamOptions): AsyncGenerator<WatchResponse> {
    const responses = this.#client.watch(this.#placed(request), options);
    return this.#followed(request, responses, (response) => response.delta);
  }

  /** As {@link TurntreeClient.streamTurns}. */
  streamTurns(
    request: Within<typeof StreamTurnsRequestSchema> = {},
    options?: StreamOptions,
  ): AsyncGenerator<StreamTurnsResponse> {
    const responses = this.#client.streamTurns(this.#placed(request), options);
    return this.#followed(request, responses, (response) => response);
  }

  #within<Request extends { sessionId?: string; branch?: unknown }, Response extends Answer>(
    choose: (client: TurntreeClient) => (request: Request, options?: CallOptions) => Promise<Response>,
  ) {
    return async (request: Omit<Request, "sessionId">, options?: CallOptions): Promise<Response> => {
      const response = await choose(this.#client)(this.#placed(request) as unknown as Request, options);
      this.#follow(request, response);
      return response;
    };
  }

  async *#followed<Response>(
    request: object,
    responses: AsyncGenerator<Response>,
    answer: (response: Response) => Answer | undefined,
  ): AsyncGenerator<Response> {
    for await (const response of responses) {
      this.#follow(request, answer(response));
      yield response;
    }
  }

  #placed<Request extends object>(request: Request): Request & { sessionId: string; branch: Pointer } {
    return { branch: this.#branch, ...request, sessionId: this.sessionId };
  }

  /**
   * Learn from what the current branch was resolved to that the session was cleared. A request that a caller without types
   * left out is as good as an empty one: what was done for it must not fail now.
   */
  #follow(request: object | undefined, answer: Answer | undefined): void {
    const resolved = answer?.branch;
    if ("branch" in (request ?? {}) || resolved === undefined) return;
    const known = this.#branch.generation;
    if (known === undefined || (resolved.generation ?? 0n) > known) this.#branch = resolved;
  }

  /** Make a branch the current one, unless the session was cleared since. */
  #switch({ branchId, generation }: { branchId: string; generation: bigint }): void {
    if (generation >= (this.#branch.generation ?? 0n)) this.#branch = { branchId, generation };
  }
}
