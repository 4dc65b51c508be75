import type { AgentInputItem } from "@openai/agents";
import type { NativeItem } from "../gen/turntree/v1/item_pb.js";
import { decodeItem, encodeItem } from "../items.js";
import { DIALECT, fromJs, toJs } from "./convert/index.js";

/** Items as they are sent: the Responses form of each, and the native form of those that need one. */
export interface Encoded {
  items: Uint8Array[];
  natives: { index: bigint; dialect: string; native: Uint8Array }[];
}

/** Items as turntree stores them. */
export function encodeAll(items: readonly AgentInputItem[]): Encoded {
  const encoded: Encoded = { items: [], natives: [] };
  items.forEach((item, index) => {
    const { payload, native } = fromJs(item);
    encoded.items.push(encodeItem(payload));
    if (native !== undefined) {
      encoded.natives.push({ index: BigInt(index), dialect: DIALECT, native: encodeItem(native) });
    }
  });
  return encoded;
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

/** Items from what is stored of them; those that are not JSON are undefined. */
export function decodeAll(
  items: readonly Uint8Array[],
  natives: readonly NativeItem[],
): (AgentInputItem | undefined)[] {
  const byIndex = new Map(natives.map(({ index, native }) => [Number(index), native]));
  return items.map((item, index) => decode(item, byIndex.get(index)));
}

/** An item as it comes back when it is stored and read. */
export function roundTrip(item: AgentInputItem): AgentInputItem {
  const { payload, native } = fromJs(item);
  return JSON.parse(JSON.stringify(native ?? toJs(payload))) as AgentInputItem;
}
