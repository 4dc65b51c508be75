/** Fields that many kinds of items have. */

import { isObject, type Json, type JsonObject } from "./json.js";
import { type Field, text } from "./shape.js";

/** The id of an item that the API knows. */
export const ID = text("id");
/** What a call and its answer are matched by. */
export const CALL_ID: Field = { ...text("call_id", "callId"), required: () => undefined };

/** Who called: the model, or a program that the model wrote. */
export const CALLER: Field = {
  r: "caller",
  j: "caller",
  toJs: (caller) => {
    if (!isObject(caller)) {
      return undefined;
    }
    if (caller.type === "program" && typeof caller.caller_id === "string") {
      return { type: "program", callerId: caller.caller_id };
    }
    return caller.type === "direct" ? { type: "direct" } : undefined;
  },
  fromJs: (caller) =>
    isObject(caller) && caller.type === "program" ? { type: "program", caller_id: caller.callerId ?? null } : caller,
};

/** What the SDK repeats of an item that the Responses API made, which has an id. */
export function repeatsOfModel(stored: JsonObject): readonly string[] {
  return typeof stored.id === "string" ? ["id", "type"] : [];
}

/** How far an item has come; with what JavaScript takes for granted, where it requires one. */
export function status(required?: string): Field {
  return required === undefined ? text("status") : { ...text("status"), required: () => required };
}

/** New names of keys, by the old ones. */
export type Names = Readonly<Record<string, string>>;

/** Renames some keys of an object, those whose value passes, and leaves the others. */
export function renamed(names: Names, passes: (value: Json) => boolean = () => true): (value: Json) => Json {
  const nameOf = (key: string, held: Json): string =>
    (passes(held) && Object.hasOwn(names, key) ? names[key] : undefined) ?? key;
  return (value) =>
    isObject(value) ? Object.fromEntries(Object.entries(value).map(([key, held]) => [nameOf(key, held), held])) : value;
}
