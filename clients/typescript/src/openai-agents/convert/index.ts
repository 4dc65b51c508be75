/**
 * Items of the OpenAI Agents SDK for JavaScript as the OpenAI Responses items that turntree stores, and back.
 *
 * The stored payload is always the Responses form, so that every reader understands it. `toJs` is exact: `fromJs` makes
 * the same payload of what it gave. A JavaScript item that the payload does not bring back exactly has a native form, to
 * be stored beside it in the dialect `DIALECT` and to be read instead of the payload. Each item is converted for itself.
 */

import type { AgentInputItem } from "@openai/agents";

import { asJson, equal, isObject, type Json, type JsonObject } from "./json.js";
import { HOSTED, hostedShape } from "./hosted.js";
import { messageShape } from "./messages.js";
import { fromShape, type Shape, toShape, withoutNotes } from "./shape.js";
import { TOOLS } from "./tools.js";

/** The name of this SDK's native form. */
export const DIALECT = "openai-agents-js";

/** What is stored of an item. */
export interface Stored {
  /** The item in the Responses form, which every reader understands. */
  readonly payload: unknown;
  /** The item itself, when the payload does not bring it back exactly. */
  readonly native?: unknown;
}

/**
 * The JavaScript form of a stored payload.
 *
 * @param payload Any JSON value, as `JSON.parse` gives it. What has no counterpart in JavaScript comes as an item of type `unknown` that holds it.
 * @returns The item, which may share parts with the payload.
 */
export function toJs(payload: unknown): AgentInputItem {
  return itemOf(payload as Json) as unknown as AgentInputItem;
}

/**
 * What to store of a JavaScript item.
 *
 * @param item An item, of any version of the SDK. `undefined` in it is left out, and bytes become their base64 text.
 * @returns The payload, and the native form if the payload alone would not bring the item back.
 */
export function fromJs(item: AgentInputItem): Stored {
  const given = asJson(item);
  const noted = isObject(given) ? withoutNotes(given) : undefined;
  if (noted) {
    const payload = payloadOf(given);
    if (equal(itemOf(payload), given)) {
      return { payload };
    }
  }
  const payload = payloadOf(noted ?? given);
  return equal(itemOf(payload), given) ? { payload } : { payload, native: given };
}

function itemOf(payload: Json): JsonObject {
  if (!isObject(payload)) {
    return { type: "unknown", payload };
  }
  const shape = messageShape(payload) ?? [...TOOLS, ...HOSTED].find((one) => one.r === payload.type);
  const item = shape ? toShape(shape, payload) : isOfJs(payload) ? payload : undefined;
  if (item && equal(payloadOf(item), payload)) {
    return item;
  }
  return { type: "unknown", ...(typeof payload.id === "string" ? { id: payload.id } : {}), providerData: payload };
}

/** Whether a payload is an item of JavaScript that has no counterpart, stored as it was. */
function isOfJs(payload: JsonObject): boolean {
  return payload.type === "hosted_tool_call";
}

function payloadOf(item: Json): Json {
  if (!isObject(item)) {
    return item;
  }
  if (item.type === "unknown") {
    return unknownPayloadOf(item);
  }
  const shape = shapeOfItem(item);
  return shape ? fromShape(shape, item) : item;
}

function shapeOfItem(item: JsonObject): Shape | undefined {
  return (
    messageShape(item) ??
    (item.type === "hosted_tool_call" ? hostedShape(item) : TOOLS.find((shape) => shape.j === item.type))
  );
}

function unknownPayloadOf(item: JsonObject): Json {
  if (Object.hasOwn(item, "payload")) {
    return item.payload ?? null;
  }
  if (!isObject(item.providerData)) {
    return item;
  }
  return typeof item.id === "string" ? { id: item.id, ...item.providerData } : item.providerData;
}
