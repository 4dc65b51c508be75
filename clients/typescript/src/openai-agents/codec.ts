import type { AgentInputItem } from "@openai/agents";
import type { NativeItem } from "../gen/turntree/v1/item_pb.js";
import { invalid, kindOf } from "../errors.js";
import { decodeItem, encodeItem } from "../items.js";
import { DIALECT, fromJs, toJs } from "./convert/index.js";

/** Items as they are sent: the Responses form of each, and the native form of those that need one. */
export interface Encoded {
  items: Uint8Array[];
  natives: { index: bigint; dialect: string; native: Uint8Array }[];
}

/** An item as it is stored: its Responses form, and its native form if it needs one. */
export interface StoredItem {
  item: Uint8Array;
  native: Uint8Array | undefined;
}

/** An item as turntree stores it. */
export function encode(item: AgentInputItem): StoredItem {
  const { payload, native } = fromJs(item);
  return { item: encodeItem(payload), native: native === undefined ? undefined : encodeItem(native) };
}

/** Stored items as they are sent. */
export function together(stored: readonly StoredItem[]): Encoded {
  const natives = stored.flatMap(({ native }, index) =>
    native === undefined ? [] : [{ index: BigInt(index), dialect: DIALECT, native }],
  );
  return { items: stored.map(({ item }) => item), natives };
}

/**
 * Items as turntree stores them.
 *
 * @throws {@link TurntreeError} FIELD_INVALID; see {@link each}.
 */
export function encodeAll(field: string, items: readonly AgentInputItem[]): Encoded {
  return together(each(field, items, encode));
}

/**
 * What is made of each item of a field.
 *
 * @throws {@link TurntreeError} FIELD_INVALID with the position, for what is no item.
 */
export function each<T>(field: string, items: readonly AgentInputItem[], make: (item: AgentInputItem) => T): T[] {
  if (!Array.isArray(items)) throw invalid(field, kindOf(items), "an array of items");
  return Array.from<AgentInputItem, T>(items, (item, position) => from(`${field}[${position}]`, item, make));
}

/**
 * What is made of an item in a field.
 *
 * @throws {@link TurntreeError} FIELD_INVALID, when it is no item.
 */
export function from<T>(field: string, item: AgentInputItem, make: (item: AgentInputItem) => T): T {
  const [kind, limit] = [kindOf(item), "an item: an object that JSON can hold"];
  if (kind !== "object") throw invalid(field, kind, limit);
  try {
    return make(item);
  } catch (cause) {
    throw invalid(field, kind, limit, { cause });
  }
}

/** An item from what is stored of it; undefined when that is not JSON, as other software can write it. */
export function decode(item: Uint8Array, native?: Uint8Array): AgentInputItem | undefined {
  try {
    return native === undefined ? toJs(decodeItem(item)) : (decodeItem(native) as AgentInputItem);
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

/** Items as they were received, each with its native form. */
export function apart(items: readonly Uint8Array[], natives: readonly NativeItem[]): StoredItem[] {
  const byIndex = new Map(natives.map(({ index, native }) => [Number(index), native]));
  return items.map((item, index) => ({ item, native: byIndex.get(index) }));
}

/** Items from what is stored of them; those that are not JSON are undefined. */
export function decodeAll(
  items: readonly Uint8Array[],
  natives: readonly NativeItem[],
): (AgentInputItem | undefined)[] {
  return apart(items, natives).map(({ item, native }) => decode(item, native));
}

/** An item as it comes back when it is stored and read. */
export function roundTrip(item: AgentInputItem): AgentInputItem {
  const { payload, native } = fromJs(item);
  return JSON.parse(JSON.stringify(native ?? toJs(payload))) as AgentInputItem;
}
