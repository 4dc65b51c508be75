/** JSON values: what items are made of on both sides. */

/** Any JSON value. */
export type Json = string | number | boolean | null | Json[] | JsonObject;

/** A JSON object. */
export interface JsonObject {
  [key: string]: Json;
}

/** Whether a value is a JSON object, and neither a list nor null. */
export function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Whether two JSON values say the same; the order of an object's keys says nothing. */
export function equal(one: Json | undefined, other: Json | undefined): boolean {
  if (one === other) {
    return true;
  }
  if (Array.isArray(one) && Array.isArray(other)) {
    return one.length === other.length && one.every((value, position) => equal(value, other[position]));
  }
  if (!isObject(one) || !isObject(other)) {
    return false;
  }
  const keys = Object.keys(one);
  return (
    keys.length === Object.keys(other).length &&
    keys.every((key) => Object.hasOwn(other, key) && equal(one[key], other[key]))
  );
}

/**
 * A value as JSON can hold it.
 *
 * What is `undefined` is left out, bytes become their base64 text, and integers beyond JavaScript's numbers their digits.
 */
export function asJson(value: unknown): Json {
  const text = JSON.stringify(value, function (this: Record<string, unknown>, key: string, shown: unknown): unknown {
    const given = this[key]; // `shown` is what a `toJSON` made of it
    const held = given instanceof ArrayBuffer ? new Uint8Array(given) : given;
    if (held instanceof Uint8Array) {
      return Buffer.from(held.buffer, held.byteOffset, held.byteLength).toString("base64");
    }
    return typeof shown === "bigint" ? shown.toString() : shown;
  }) as string | undefined;
  return text === undefined ? null : (JSON.parse(text) as Json);
}
