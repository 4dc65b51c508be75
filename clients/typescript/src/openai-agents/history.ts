import type { AgentInputItem } from "@openai/agents";
import { DeltaKind } from "../gen/turntree/v1/item_pb.js";
import type { SessionHandle } from "../session-handle.js";
import { decode, decodeAll, type Encoded } from "./codec.js";
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
  const { branchId, limit, limitTurns, wholeExchanges } = query;
  let items: (AgentInputItem | undefined)[] = [];
  let cursor = new Uint8Array();
  const request = {
    nativeDialect: DIALECT,
    ...(branchId !== undefined && { branch: { branchId } }),
    window: {
      ...(limit !== undefined && { limit: BigInt(limit) }),
      ...(limitTurns !== undefined && { limitTurns: BigInt(limitTurns) }),
      wholeExchanges: wholeExchanges ?? false,
    },
  };
  for await (const { delta } of session.streamItems(request)) {
    if (delta === undefined) continue;
    if (delta.kind === DeltaKind.REPLACED) items = [];
    items.push(...decodeAll(delta.items, delta.natives));
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
