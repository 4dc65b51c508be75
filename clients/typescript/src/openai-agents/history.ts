import {
  type AgentInputItem,
  applySessionHistoryMutations,
  type SessionHistoryMutation,
  type SessionHistoryRewriteArgs,
} from "@openai/agents";
import { isDeepStrictEqual } from "node:util";
import { invalid, kindOf, whole } from "../errors.js";
import { DeltaKind } from "../gen/turntree/v1/item_pb.js";
import type { SessionHandle } from "../session-handle.js";
import { apart, decode, encode, type Encoded, from, type StoredItem, together } from "./codec.js";
import { DIALECT } from "./convert/index.js";

/** The newest items of a branch, undefined where one is not JSON, and the cursor that names what the branch was then. */
export interface Snapshot {
  items: (AgentInputItem | undefined)[];
  cursor: Uint8Array;
}

/** Which items of a branch to read, by default all of the current one. */
export interface ItemsQuery {
  /** The branch. */
  branchId?: string;

  /** The newest so many items. */
  limit?: number;

  /** The items of the newest so many turns. */
  limitTurns?: number;

  /** Never begin between a tool call and its output; fewer items than `limit` may come back. */
  wholeExchanges?: boolean;
}

/** Read items of a branch. */
export async function read(session: SessionHandle, query: ItemsQuery = {}): Promise<Snapshot> {
  return await readAs(session, query, ({ item, native }) => decode(item, native));
}

/** Read items of a branch, and make of each what is wanted. */
async function readAs<Item>(session: SessionHandle, query: ItemsQuery, make: (stored: StoredItem) => Item) {
  const { branchId, limit, limitTurns, wholeExchanges } = query;
  let items: Item[] = [];
  let cursor = new Uint8Array();
  const request = {
    nativeDialect: DIALECT,
    ...(branchId !== undefined && { branch: { branchId } }),
    window: {
      ...(limit !== undefined && { limit: whole("limit", limit) }),
      ...(limitTurns !== undefined && { limitTurns: whole("limit_turns", limitTurns) }),
      wholeExchanges: wholeExchanges ?? false,
    },
  };
  for await (const delta of session.readItems(request)) {
    if (delta.kind === DeltaKind.REPLACED) items = [];
    for (const stored of apart(delta.items, delta.natives)) items.push(make(stored));
    cursor = Uint8Array.from(delta.cursor);
  }
  return { items, cursor };
}

/** Append items to the current branch, all or none. */
export async function append(session: SessionHandle, items: Encoded, requestId?: string): Promise<void> {
  await session.addItems({ ...items, ...(requestId !== undefined && { requestId }) });
}

/** Remove and return the newest item of the current branch; undefined when it is empty. */
export async function pop(session: SessionHandle): Promise<AgentInputItem | undefined> {
  const { item, native } = await session.popItem({ nativeDialect: DIALECT });
  return item && decode(item, native);
}

/** Replace the newest items of the current branch, if it is at a cursor. */
export async function replace(
  session: SessionHandle,
  removeCount: number | bigint,
  items: Encoded,
  expectedCursor: Uint8Array,
  requestId?: string,
): Promise<void> {
  await session.replaceItems({
    ...items,
    removeCount: BigInt(removeCount),
    expectedCursor,
    ...(requestId !== undefined && { requestId }),
  });
}

/**
 * Mutations as they are when they are asked for, whatever becomes of them afterwards.
 *
 * @throws {@link TurntreeError} FIELD_INVALID, for what is none.
 */
export function mutationsOf(args: SessionHistoryRewriteArgs): SessionHistoryMutation[] {
  if (kindOf(args) !== "object") throw invalid("args", kindOf(args), "an object with mutations");
  const { mutations } = args;
  if (!Array.isArray(mutations)) throw invalid("mutations", kindOf(mutations), "an array of mutations");
  return Array.from<SessionHistoryMutation, SessionHistoryMutation>(mutations, (mutation, position) => {
    const field = `mutations[${position}]`;
    if (kindOf(mutation) !== "object") throw invalid(field, kindOf(mutation), "an object");
    return from(`${field}.replacement`, mutation.replacement, () => structuredClone(mutation));
  });
}

/** Rewrite items of the current branch; what is not rewritten stays as it is stored, byte for byte. */
export async function rewrite(session: SessionHandle, mutations: SessionHistoryMutation[]): Promise<void> {
  const { items: all, cursor } = await readAs(session, {}, (stored) => ({
    stored,
    item: decode(stored.item, stored.native),
  }));
  const known = all.flatMap(({ stored, item }, position) => (item === undefined ? [] : [{ stored, item, position }]));
  const rewritten = applySessionHistoryMutations(
    known.map(({ item }) => item),
    mutations,
  );
  let kept = 0;
  while (kept < known.length && isDeepStrictEqual(known[kept]?.item, rewritten[kept])) kept += 1;
  const first = known[kept];
  if (first === undefined) return;
  let next = kept;
  const stored = rewritten.slice(kept).map((item) => {
    let same = next;
    while (same < known.length && !isDeepStrictEqual(known[same]?.item, item)) same += 1;
    if (same < known.length) next = same + 1;
    return known[same]?.stored ?? encode(item);
  });
  await replace(session, all.length - first.position, together(stored), cursor);
}
