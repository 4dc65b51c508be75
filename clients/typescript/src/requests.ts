import { type DescMessage, ScalarType } from "@bufbuild/protobuf";
import { invalid, kindOf } from "./errors.js";

/** Half of a character. UTF-8 has none, and an encoder writes the same replacement for each. */
const LONE_SURROGATE = /\p{Surrogate}/u;
const SHOWN_CHARACTERS = 64;

/**
 * Refuse a request that is none, or has a text that would arrive as another one, or has other than bytes where bytes are due.
 *
 * @throws {@link TurntreeError} FIELD_INVALID.
 */
export function checkRequest(desc: DescMessage, request: object): void {
  if (kindOf(request) !== "object") throw invalid("request", kindOf(request), "an object");
  checkFields(desc, request, "");
}

function checkFields(desc: DescMessage, request: object, path: string): void {
  for (const field of desc.fields) {
    const value = valueOf(field, request);
    const name = path + field.name;
    if (field.fieldKind === "scalar") {
      if (field.scalar !== ScalarType.BYTES) checkText(name, value);
      else if (value !== undefined && value !== null) checkBytes(name, value);
    } else if (field.fieldKind === "message" && isObject(value)) {
      checkFields(field.message, value, `${name}.`);
    } else if (field.fieldKind === "map" && isObject(value)) {
      for (const [key, held] of Object.entries(value)) {
        checkText(`${name} key`, key);
        checkText(`${name}[${key}]`, held);
      }
    } else if (field.fieldKind === "list" && Array.isArray(value)) {
      value.forEach((element: unknown, index) => {
        const position = `${name}[${index}]`;
        if (field.listKind === "message" && isObject(element)) checkFields(field.message, element, `${position}.`);
        else if (field.scalar === ScalarType.BYTES) checkBytes(position, element);
        else checkText(position, element);
      });
    }
  }
}

function valueOf(field: DescMessage["fields"][number], request: object): unknown {
  const values = request as Record<string, unknown>;
  if (field.oneof === undefined) return values[field.localName];
  const chosen = values[field.oneof.localName] as { case?: string; value?: unknown } | undefined;
  return chosen?.case === field.localName ? chosen.value : undefined;
}

function checkText(name: string, value: unknown): void {
  if (typeof value !== "string" || !LONE_SURROGATE.test(value)) return;
  const shown = JSON.stringify(value).slice(1, -1).slice(0, SHOWN_CHARACTERS);
  throw invalid(name, shown, "valid Unicode, without lone surrogates");
}

function checkBytes(name: string, value: unknown): void {
  if (!ArrayBuffer.isView(value)) throw invalid(name, kindOf(value), "a Uint8Array; encodeItem makes one of an item");
}

function isObject(value: unknown): value is object {
  return typeof value === "object" && value !== null;
}
