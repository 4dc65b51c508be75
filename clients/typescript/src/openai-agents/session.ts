/// <reference lib="esnext.disposable" preserve="true" />
import type {
  AgentInputItem,
  RunContextAwareSession,
  SessionHistoryRewriteArgs,
  SessionHistoryRewriteAwareSession,
  SessionHistoryTransactionArgs,
  SessionHistoryTransactionAwareSession,
} from "@openai/agents";
import type { TurntreeClient } from "../client.js";
import { invalid, whole } from "../errors.js";
import type { SessionHandle } from "../session-handle.js";
import { encodeAll } from "./codec.js";
import { append, type ItemsQuery, mutationsOf, pop, read, replace, rewrite } from "./history.js";
import { Queries } from "./queries.js";
import type { Token } from "../token.js";
import { runUsage, type RunWithUsage } from "./shapes.js";
import { acquire, release } from "./shared-clients.js";
import { applyTransaction, encodeTransaction } from "./transactions.js";
import { UsageMode } from "../gen/turntree/v1/usage_pb.js";

const URL_DEFAULT = "localhost:50051";
const MAIN = "main";

/** Where a session is kept. */
export interface TurntreeSessionOptions {
  /**
   * The server, as for `TurntreeClient`; by default the environment's `TURNTREE_URL`, else `localhost:50051`. Sessions of a
   * process that name the same URL share one connection.
   */
  url?: string;

  /** Who calls, as for `TurntreeClient`. */
  token?: Token;

  /** A client to use instead of a URL. It stays the caller's to close. */
  client?: TurntreeClient;
}

/**
 * A session of the OpenAI Agents SDK, with branches, usage and queries, kept on a turntree server.
 *
 * The current branch belongs to this object; the history belongs to the server, where any number of processes share it, also
 * in other languages: items are stored in the OpenAI Responses input form. Changes that one object makes happen in the order
 * in which they were called, with what they were given when they were called, and its reads of items wait for the changes
 * that were called before. Errors are of the type `TurntreeError`.
 */
export class TurntreeSession
  extends Queries
  implements RunContextAwareSession, SessionHistoryRewriteAwareSession, SessionHistoryTransactionAwareSession
{
  /** The methods take the context of a run, as the runner gives it, and have no use for it. */
  readonly acceptsRunContext = true;

  readonly #isShared: boolean;
  readonly #client: TurntreeClient;
  readonly #session: SessionHandle;
  #last: Promise<unknown> = Promise.resolve();
  #isClosed = false;

  /**
   * @param sessionId - The session.
   * @throws {@link TurntreeError} FIELD_INVALID, when the URL is none.
   */
  constructor(sessionId: string, options: TurntreeSessionOptions = {}) {
    if (options.client !== undefined && options.url !== undefined) {
      throw invalid("url", options.url, "left out when there is a client");
    }
    const client = options.client ?? acquire(options.url ?? process.env.TURNTREE_URL ?? URL_DEFAULT, options.token);
    const session = client.session(sessionId);
    super(client, session);
    this.#isShared = options.client === undefined;
    this.#client = client;
    this.#session = session;
  }

  /** Give the connection back. Calls after this may be refused. */
  close(): void {
    if (!this.#isClosed && this.#isShared) release(this.#client);
    this.#isClosed = true;
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.close();
    return Promise.resolve();
  }

  // The SDK's Session

  /** The session's id. */
  getSessionId(): Promise<string> {
    return Promise.resolve(this.sessionId);
  }

  /**
   * Return the items of the current branch, oldest first.
   *
   * @param limit - The newest so many items; none when it is not above 0.
   */
  async getItems(limit = Infinity): Promise<AgentInputItem[]> {
    const newest = Math.max(0, Math.ceil(limit));
    return await this.readItems(Number.isSafeInteger(newest) ? { limit: newest } : {});
  }

  /** Return items of a branch, oldest first: of any branch, by turns, and without tearing tool calls from their outputs. */
  async readItems(query: ItemsQuery): Promise<AgentInputItem[]> {
    await this.#last;
    const { items } = await read(this.#session, query);
    return items.filter((item) => item !== undefined);
  }

  /** Append items to the current branch, all or none, as they are now: they are the caller's again at once. */
  async addItems(items: AgentInputItem[]): Promise<void> {
    const encoded = encodeAll("items", items);
    if (encoded.items.length === 0) return;
    await this.#change(() => append(this.#session, encoded));
  }

  /** Remove and return the newest item of the current branch; undefined when it is empty. */
  async popItem(): Promise<AgentInputItem | undefined> {
    return await this.#change(() => pop(this.#session));
  }

  /** Remove all items, branches and usage; every object of this session is at `main` then. */
  async clearSession(): Promise<void> {
    await this.#change(() => this.#session.clear());
  }

  /**
   * Remove the session with all that belongs to it, labels and the names of its branches too.
   *
   * @throws {@link TurntreeError} SESSION_NOT_FOUND.
   */
  async deleteSession(): Promise<void> {
    await this.#change(() => this.#session.delete());
  }

  /**
   * Replace the history of the current branch by a compacted one, in one step.
   *
   * @throws {@link TurntreeError} CURSOR_MISMATCH, when somebody else writes meanwhile; nothing was done.
   */
  async replaceHistoryWithCompaction(items: AgentInputItem[]): Promise<void> {
    const encoded = encodeAll("items", items);
    await this.#change(async () => {
      const { items: replaced, cursor } = await read(this.#session);
      await replace(this.#session, replaced.length, encoded, cursor);
    });
  }

  /**
   * Change the history once for an operation id, or not at all; the operation id is the `request_id`, which the server
   * knows for 24 hours. It belongs to the first transaction that it came with, also if that one was refused and also when
   * the session is cleared.
   *
   * @throws {@link TurntreeError} REQUEST_ID_REUSED, when the operation id was used for another transaction;
   *   CURSOR_MISMATCH, when the history does not end with the expected suffix; FIELD_INVALID for what is no transaction,
   *   which does not take its operation id.
   */
  async applyHistoryTransaction(args: SessionHistoryTransactionArgs): Promise<void> {
    const transaction = encodeTransaction(args);
    await this.#change(() => applyTransaction(this.#client, this.#session, transaction));
  }

  /**
   * Rewrite items of the history, as the SDK asks for. The others stay as they are stored, byte for byte, and what stands
   * before the first rewritten one is not touched.
   *
   * @throws {@link TurntreeError} CURSOR_MISMATCH, when somebody else writes meanwhile; FIELD_INVALID for what is no mutation;
   *   nothing was done.
   */
  async applyHistoryMutations(args: SessionHistoryRewriteArgs): Promise<void> {
    const mutations = mutationsOf(args);
    await this.#change(() => rewrite(this.#session, mutations));
  }

  // Branches

  /** The id of the current branch. */
  get currentBranchId(): string {
    return this.#session.branch.branchId;
  }

  /**
   * Fork the current branch before a turn's user item, and switch to the new branch.
   *
   * @returns The new branch's id.
   * @throws {@link TurntreeError} TURN_NOT_FOUND, or BRANCH_ID_USED for a name that was used before.
   */
  async createBranchFromTurn(turn: number, branchName?: string): Promise<string> {
    return await this.#createBranch({ case: "turn", value: whole("turn", turn) }, branchName);
  }

  /** Fork the current branch after a turn's last item, and switch to the new branch; as {@link createBranchFromTurn}. */
  async createBranchAfterTurn(turn: number, branchName?: string): Promise<string> {
    return await this.#createBranch({ case: "afterTurn", value: whole("after_turn", turn) }, branchName);
  }

  /** Fork the current branch at its end, with all its items, and switch to the new branch. */
  async createBranchFromHead(branchName?: string): Promise<string> {
    return await this.#createBranch({ case: "head", value: {} }, branchName);
  }

  /**
   * Fork the current branch before the first turn whose user item contains a text, and switch to the new branch.
   *
   * @throws {@link TurntreeError} CONTENT_NOT_FOUND, or BRANCH_ID_USED for a name that was used before.
   */
  async createBranchFromContent(searchTerm: string, branchName?: string): Promise<string> {
    return await this.#createBranch({ case: "content", value: searchTerm }, branchName);
  }

  async #createBranch(
    origin: NonNullable<Parameters<SessionHandle["createBranch"]>[0]["origin"]>,
    newBranchId?: string,
  ): Promise<string> {
    const request = newBranchId === undefined ? { origin } : { origin, newBranchId };
    const { branch } = await this.#change(() => this.#session.createBranch(request));
    return branch?.branchId ?? "";
  }

  /**
   * Make a branch the current one.
   *
   * @throws {@link TurntreeError} BRANCH_NOT_FOUND.
   */
  async switchToBranch(branchId: string): Promise<void> {
    await this.#change(() => this.#session.switchTo(branchId));
  }

  /**
   * Remove a branch and its usage; its id stays reserved.
   *
   * @param options - `force` allows it to be the current branch, and switches to `main`.
   * @throws {@link TurntreeError} BRANCH_NOT_FOUND, BRANCH_PROTECTED for `main`, or FIELD_INVALID for the current branch
   *   without `force`.
   */
  async deleteBranch(branchId: string, options: { force?: boolean } = {}): Promise<void> {
    await this.#change(async () => {
      const isCurrent = branchId === this.currentBranchId;
      if (isCurrent && branchId !== MAIN && options.force !== true) {
        throw invalid("branchId", branchId, "another branch than the current one, without { force: true }");
      }
      await this.#client.deleteBranch({ sessionId: this.sessionId, branchId });
      if (isCurrent) await this.#session.switchTo(MAIN);
    });
  }

  // Usage

  /**
   * Record the usage of a run for the turn that is current now. Call it after each run.
   *
   * @param result - What `run` gave.
   * @param options - `add` adds to what the turn has, for a turn of several runs, instead of replacing it.
   * @throws {@link TurntreeError} FIELD_INVALID, when it is not the result of a run.
   */
  async storeRunUsage(result: RunWithUsage, options: { add?: boolean } = {}): Promise<void> {
    const usage = runUsage(result);
    const mode = options.add === true ? UsageMode.ADD : UsageMode.REPLACE;
    await this.#change(() => this.#session.recordUsage({ usage, mode }));
  }

  /** Make a change after those that were called before it, whether they succeed or not. */
  #change<T>(change: () => Promise<T>): Promise<T> {
    const changed = this.#last.then(change);
    this.#last = changed.catch(() => undefined);
    return changed;
  }
}
