/**
 * How an object of the one side is turned into an object of the other: by a table of fields, and back by the same table.
 *
 * A field that has no place of its own on the JavaScript side goes to `providerData`, as it does in the SDK, which sends
 * it on to the model. What the JavaScript object still does not tell of the stored one (a null, a list where JavaScript
 * has one value) is noted beside it under `turntree`, which the SDK ignores. So the stored object can always be made
 * again, exactly.
 */

import { equal, isObject, type Json, type JsonObject } from "./json.js";

/** Makes another value of a value; undefined when there is none. */
export type Convert = (value: Json) => Json | undefined;

/** One field and where it stands on either side. */
export interface Field {
  /** Its name in the Responses form. */
  readonly r: string;
  /** Its name in JavaScript. */
  readonly j: string;
  /** The value in JavaScript; undefined when JavaScript cannot hold it. As it is, when there is no function. */
  readonly toJs?: (value: Json) => Json | undefined;
  /** The value in the Responses form; undefined when there is none. As it is, when there is no function. */
  readonly fromJs?: (value: Json, item: JsonObject) => Json | undefined;
  /** For what JavaScript requires: the value when the stored object gives none; undefined when it has no such form. */
  readonly required?: (stored: JsonObject) => Json | undefined;
  /** The value in JavaScript that stands for no value in the Responses form. */
  readonly implied?: (item: JsonObject) => Json | undefined;
  /** Whether a value that JavaScript cannot hold in the field stays in `providerData`. */
  readonly stays?: boolean;
}

/** A kind of object that both sides have. */
export interface Shape {
  /** Its `type` in the Responses form. */
  readonly r: string;
  /** Its `type` in JavaScript. */
  readonly j: string;
  /** The fields that have a place of their own on both sides. */
  readonly fields: readonly Field[];
  /** The other fields of the Responses form. */
  readonly others?: readonly string[];
  /** What is always the same in JavaScript. */
  readonly constants?: JsonObject;
  /** What the Responses form requires and JavaScript does not have: the value when nothing else gives one. */
  readonly adds?: JsonObject;
  /** The fields that the SDK also repeats in `providerData`. */
  readonly repeats?: (stored: JsonObject) => readonly string[];
  /** Whether there is `providerData` even if it is empty. */
  readonly alwaysProviderData?: (stored: JsonObject) => boolean;
  /** Whether `type` may be left out, on both sides alike. */
  readonly typeIsOptional?: boolean;
}

const NOTES = "turntree";

/** The fields that a shape has in the Responses form, `type` among them. */
export function fieldsOf(shape: Shape): Set<string> {
  return new Set(["type", ...shape.fields.map((field) => field.r), ...(shape.others ?? [])]);
}

/** The JavaScript form of a stored object, with notes of what it does not tell; undefined when it has none. */
export function toShape(shape: Shape, stored: JsonObject): JsonObject | undefined {
  const plain = toPlainShape(shape, stored);
  if (plain === undefined) {
    return undefined;
  }
  const told = fromPlainShape(shape, plain);
  const set = Object.entries(stored).filter(([key, value]) => !Object.hasOwn(told, key) || !equal(told[key], value));
  const unset = Object.keys(told).filter((key) => !Object.hasOwn(stored, key));
  const notes: JsonObject = {
    ...(set.length > 0 ? { set: Object.fromEntries(set) } : {}),
    ...(unset.length > 0 ? { unset } : {}),
  };
  return Object.keys(notes).length > 0 ? { ...plain, [NOTES]: notes } : plain;
}

/** The stored form of a JavaScript object, with what its notes tell. */
export function fromShape(shape: Shape, item: JsonObject): JsonObject {
  const stored = fromPlainShape(shape, item);
  const notes = item[NOTES];
  if (!isObject(notes)) {
    return stored;
  }
  const unset = Array.isArray(notes.unset) ? notes.unset : [];
  return {
    ...Object.fromEntries(Object.entries(stored).filter(([key]) => !unset.includes(key))),
    ...(isObject(notes.set) ? notes.set : {}),
  };
}

/** A JavaScript object without its notes; undefined when it has none. */
export function withoutNotes(item: JsonObject): JsonObject | undefined {
  const { [NOTES]: notes, ...rest } = item;
  return notes === undefined ? undefined : rest;
}

function toPlainShape(shape: Shape, stored: JsonObject): JsonObject | undefined {
  const item = new Map<string, Json>(Object.entries(shape.constants ?? {}));
  if (!shape.typeIsOptional || Object.hasOwn(stored, "type")) {
    item.set("type", shape.j);
  }
  const left = new Map<string, Json>(Object.entries(stored));
  left.delete("type");
  for (const field of shape.fields) {
    const given = Object.hasOwn(stored, field.r) ? stored[field.r] : undefined;
    const held = given === undefined ? undefined : field.toJs ? field.toJs(given) : given;
    if (held !== undefined || !field.stays) {
      left.delete(field.r);
    }
    const value = held !== undefined ? held : field.required?.(stored);
    if (value !== undefined) {
      item.set(field.j, value);
    } else if (field.required) {
      return undefined;
    }
  }
  for (const key of shape.repeats?.(stored) ?? []) {
    if (Object.hasOwn(stored, key) && stored[key] !== undefined) {
      left.set(key, stored[key]);
    }
  }
  if (left.size > 0 || shape.alwaysProviderData?.(stored)) {
    item.set("providerData", Object.fromEntries(left));
  }
  return Object.fromEntries(item);
}

function fromPlainShape(shape: Shape, item: JsonObject): JsonObject {
  const stored = new Map<string, Json>(Object.entries(shape.adds ?? {}));
  if (!shape.typeIsOptional || Object.hasOwn(item, "type")) {
    stored.set("type", shape.r);
  }
  for (const [key, value] of providerDataOf(shape, item)) {
    stored.set(key, value);
  }
  for (const field of shape.fields) {
    const given = Object.hasOwn(item, field.j) ? item[field.j] : undefined;
    if (given === undefined || (field.implied && equal(given, field.implied(item)))) {
      continue;
    }
    const value = field.fromJs ? field.fromJs(given, item) : given;
    if (value !== undefined) {
      stored.set(field.r, value);
    }
  }
  return Object.fromEntries(stored);
}

/**
 * What `providerData` tells of the stored form.
 *
 * It holds whatever a model's maker put there. Fields of the Responses form are taken from it; others only when it says
 * itself that it is of a Responses item, and then they are of a newer form than this one.
 */
function* providerDataOf(shape: Shape, item: JsonObject): Generator<[string, Json]> {
  if (!isObject(item.providerData)) {
    return;
  }
  const isOfResponses = item.providerData.type === shape.r;
  const own = new Set(shape.fields.filter((field) => !field.stays).map((field) => field.r)).add("type");
  const known = fieldsOf(shape);
  for (const [key, value] of Object.entries(item.providerData)) {
    const snake = key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
    const name = known.has(key) || Object.hasOwn(item.providerData, snake) ? key : snake;
    if (known.has(name) ? !own.has(name) : isOfResponses) {
      yield [known.has(name) ? name : key, value];
    }
  }
}

/** A field of the same value on both sides, which is a text. */
export function text(r: string, j: string = r): Field {
  return { r, j, toJs: onlyText };
}

/** A text, or undefined. */
export function onlyText(value: Json | undefined): string | undefined {
  return typeof value === "string" ? value : undefined;
}

/** Converts every element of a list; undefined when it is no list or an element has no other form. */
export function eachOf(convert: Convert): Convert {
  return (value) => {
    if (!Array.isArray(value)) {
      return undefined;
    }
    const converted = value.map(convert);
    return converted.every((element) => element !== undefined) ? converted : undefined;
  };
}
