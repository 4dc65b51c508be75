import type { TurntreeClient } from "../client.js";
import { whole } from "../errors.js";
import type { CompareBranchesResponse } from "../gen/turntree/v1/branch_pb.js";
import type { Session, UpdateSessionRequestSchema } from "../gen/turntree/v1/session_pb.js";
import { LetterCase } from "../gen/turntree/v1/turn_pb.js";
import { pages } from "../pages.js";
import { itemMetadataRows, toolUsageRows, type TurnRow, turnRows } from "../rows.js";
import type { SessionHandle, Within } from "../session-handle.js";
import { DIALECT } from "./convert/index.js";
import * as shapes from "./shapes.js";

const PAGE_SIZE = 1_000;

/** The questions that can be asked about a session. A `branchId` that is left out is the current branch. */
export abstract class Queries {
  /** The session's id. */
  readonly sessionId: string;

  readonly #client: TurntreeClient;
  readonly #session: SessionHandle;

  protected constructor(client: TurntreeClient, session: SessionHandle) {
    this.sessionId = session.sessionId;
    this.#client = client;
    this.#session = session;
  }

  /** List the branches that hold items, the oldest first. */
  async listBranches(): Promise<shapes.BranchInfo[]> {
    const branches = await rows(pages(this.#session.listBranches, { pageSize: PAGE_SIZE }), (page) => page.branches);
    return branches.map((branch) => shapes.branchInfo(branch, this.#session.branch.branchId));
  }

  /**
   * Find what two branches share and where they part.
   *
   * @throws {@link TurntreeError} BRANCH_NOT_FOUND.
   */
  async compareBranches(branchId: string, otherBranchId: string): Promise<CompareBranchesResponse> {
    return await this.#client.compareBranches({ sessionId: this.sessionId, branchId, otherBranchId });
  }

  /** List the turns of a branch by their user items. */
  async getConversationTurns(branchId?: string): Promise<shapes.ConversationTurn[]> {
    const request = { pageSize: PAGE_SIZE, ...on(branchId) };
    return shapes.foundTurns(await rows(pages(this.#session.listTurns, request), turnsOf));
  }

  /** List the turns of a branch whose user item contains a text, ignoring the case of ASCII letters. */
  async findTurnsByContent(searchTerm: string, branchId?: string): Promise<shapes.FoundTurn[]> {
    const request = { content: searchTerm, pageSize: PAGE_SIZE, ...on(branchId) };
    return shapes.foundTurns(await rows(pages(this.#session.searchTurns, request), turnsOf), Infinity);
  }

  /** List the turns whose user item contains a text, by default on all branches, ignoring the case of any letter. */
  async searchTurns(searchTerm: string, options: { allBranches?: boolean } = {}): Promise<shapes.FoundTurn[]> {
    const request = {
      content: searchTerm,
      allBranches: options.allBranches ?? true,
      letterCase: LetterCase.UNICODE,
      pageSize: PAGE_SIZE,
    };
    return shapes.foundTurns(await rows(pages(this.#session.searchTurns, request), turnsOf), Infinity);
  }

  /** Outline a branch: for each turn the types and tools of its items. */
  async getConversationByTurns(branchId?: string): Promise<Map<number, shapes.ItemOutline[]>> {
    const request = { pageSize: 10 * PAGE_SIZE, ...on(branchId) };
    const outline = new Map<number, shapes.ItemOutline[]>();
    for await (const page of pages(this.#session.getConversationByTurns, request)) {
      for (const { turn, type, toolName } of itemMetadataRows(page.items)) {
        const items = outline.get(Number(turn)) ?? [];
        items.push({ type, toolName });
        outline.set(Number(turn), items);
      }
    }
    return outline;
  }

  /** Count tool calls by turn and tool. */
  async getToolUsage(branchId?: string): Promise<shapes.ToolCount[]> {
    const request = { pageSize: 10 * PAGE_SIZE, ...on(branchId) };
    const counts = await rows(pages(this.#session.listToolUsage, request), (page) => toolUsageRows(page.tools));
    return counts.map(({ toolName, callCount, turn }) => ({
      toolName,
      callCount: Number(callCount),
      turn: Number(turn),
    }));
  }

  /** Read a branch turn by turn with all items, oldest first, whatever its length. A large turn comes in parts. */
  async *streamTurns(branchId?: string): AsyncGenerator<shapes.StreamedTurn> {
    for await (const { turns } of this.#session.streamTurns({ nativeDialect: DIALECT, ...on(branchId) })) {
      yield* turns.map(shapes.streamedTurn);
    }
  }

  /**
   * Follow a branch: its state first, or what is new since a cursor, then every change, for ever.
   *
   * @param options - `cursor` is that of an earlier change; `signal` ends the watch.
   */
  async *watch(
    options: { branchId?: string; cursor?: Uint8Array; signal?: AbortSignal } = {},
  ): AsyncGenerator<shapes.Change> {
    const { branchId, cursor, signal } = options;
    const request = { includeMetadata: true, nativeDialect: DIALECT, ...on(branchId), ...(cursor && { cursor }) };
    for await (const { delta } of this.#session.watch(request, signal && { signal })) {
      if (delta !== undefined) yield shapes.change(delta);
    }
  }

  /** Add up the usage of the session, or of one branch; undefined when none is recorded. */
  async getSessionUsage(branchId?: string): Promise<shapes.SessionUsage | undefined> {
    const branch = branchId === undefined ? {} : { branchId };
    const { total } = await this.#client.getSessionUsage({ sessionId: this.sessionId, ...branch });
    return total && shapes.sessionUsage(total);
  }

  /** The usage of each turn of a branch that has some, or of one turn. */
  async getTurnUsage(turn?: number, branchId?: string): Promise<shapes.TurnUsageInfo[]> {
    const request = { pageSize: PAGE_SIZE, ...(turn !== undefined && { turn: whole("turn", turn) }), ...on(branchId) };
    const usage = await rows(pages(this.#session.listTurnUsage, request), (page) => page.turns);
    return usage.map(shapes.turnUsage);
  }

  /**
   * Describe the session: its times, labels and expiry.
   *
   * @throws {@link TurntreeError} SESSION_NOT_FOUND, when nothing was written to it yet.
   */
  async getSession(): Promise<Session | undefined> {
    return (await this.#client.getSession({ sessionId: this.sessionId })).session;
  }

  /** Set and remove labels, and set when the session expires. */
  async updateSession(update: Within<typeof UpdateSessionRequestSchema>): Promise<Session | undefined> {
    return (await this.#client.updateSession({ ...update, sessionId: this.sessionId })).session;
  }
}

function on(branchId: string | undefined): { branch?: { branchId: string } } {
  return branchId === undefined ? {} : { branch: { branchId } };
}

function turnsOf(page: { turns?: Parameters<typeof turnRows>[0] }): TurnRow[] {
  return turnRows(page.turns);
}

async function rows<Page, Row>(all: AsyncIterable<Page>, of: (page: Page) => Row[]): Promise<Row[]> {
  const collected: Row[] = [];
  for await (const page of all) collected.push(...of(page));
  return collected;
}
