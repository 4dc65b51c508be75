/** Messages, by role. */

import { isObject, type Json, type JsonObject } from "./json.js";
import { INPUT_PARTS, OUTPUT_PARTS, partsFromJs, partsToJs } from "./content.js";
import { type Convert, onlyText, type Field, type Shape, text } from "./shape.js";

/** A shape of messages with this role. */
export type MessageShape = Shape & { readonly role: string };

const PHASES: readonly (Json | undefined)[] = ["commentary", "final_answer"];

function message(role: string, fields: readonly Field[]): MessageShape {
  return {
    r: "message",
    j: "message",
    typeIsOptional: true,
    role,
    fields: [text("id"), { r: "role", j: "role" }, ...fields],
  };
}

function textOr(convert: Convert): Convert {
  return (value) => (typeof value === "string" ? value : convert(value));
}

function hasId(object: JsonObject): boolean {
  return typeof object.id === "string";
}

/** What a user says: a text or a list of parts, on both sides. */
const USER: MessageShape = {
  ...message("user", [
    {
      r: "content",
      j: "content",
      toJs: textOr(partsToJs(INPUT_PARTS)),
      fromJs: textOr(partsFromJs(INPUT_PARTS)),
      required: () => undefined,
    },
  ]),
  others: ["status", "phase"],
};

/** What the program says: in JavaScript a text only. */
const SYSTEM: MessageShape = {
  ...message("system", [{ ...text("content"), required: () => undefined }]),
  others: ["status", "phase"],
};

/**
 * What a model says: in JavaScript always a list of parts with a status.
 *
 * A message that a model made has an id; one that a program wrote for it has none, and no status in the Responses form.
 */
const ASSISTANT: MessageShape = {
  ...message("assistant", [
    {
      r: "content",
      j: "content",
      toJs: (value) =>
        typeof value === "string" ? [{ type: "output_text", text: value }] : partsToJs(OUTPUT_PARTS)(value),
      fromJs: partsFromJs(OUTPUT_PARTS),
      required: () => undefined,
    },
    {
      ...text("status"),
      required: () => "completed",
      implied: (item) => (hasId(item) ? undefined : "completed"),
    },
    { r: "phase", j: "phase", toJs: (value) => (PHASES.includes(value) ? onlyText(value) : undefined) },
  ]),
  repeats: (stored) => (hasId(stored) && PHASES.includes(stored.phase) ? ["phase"] : []),
  alwaysProviderData: hasId,
};

/** The messages that both sides have. JavaScript has no role `developer`. */
export const MESSAGES: readonly MessageShape[] = [USER, SYSTEM, ASSISTANT];

/** The shape of a message; undefined when it is none, or of a role that JavaScript does not have. */
export function messageShape(value: JsonObject): MessageShape | undefined {
  const isMessage = value.type === "message" || !Object.hasOwn(value, "type");
  return isMessage ? MESSAGES.find((shape) => shape.role === value.role) : undefined;
}

/** A tool's output: a text, which the SDK's runner wraps, or a list of parts. */
export const TOOL_OUTPUT: Pick<Field, "toJs" | "fromJs"> = {
  toJs: (value) => (typeof value === "string" ? { type: "text", text: value } : partsToJs(INPUT_PARTS)(value)),
  fromJs: (value) => {
    if (!isObject(value)) {
      return Array.isArray(value) ? partsFromJs(INPUT_PARTS)(value) : value;
    }
    return value.type === "text" && typeof value.text === "string" ? value.text : [toolOutputPart(value)];
  },
};

/** A single image or file, as tools of the SDK return it. */
function toolOutputPart(output: JsonObject): Json {
  const held = output.type === "image" ? output.image : output.type === "file" ? output.file : undefined;
  if (held === undefined) {
    return output;
  }
  const isInput = output.type === "image" ? "input_image" : "input_file";
  const reference = isObject(held) ? held : { url: held };
  const id = onlyText(reference.fileId ?? reference.id);
  const data = onlyText(reference.data);
  const url = onlyText(reference.url);
  const filename = onlyText(reference.filename) ?? onlyText(output.filename);
  const inline = data === undefined ? url : inlineData(data, onlyText(reference.mediaType));
  const isWeb = inline !== undefined && /^https?:/.test(inline);
  const names = isInput === "input_image" ? ["image_url", "image_url"] : ["file_url", "file_data"];
  const [addressName = "", dataName = ""] = names;
  return {
    type: isInput,
    ...(id !== undefined ? { file_id: id } : {}),
    ...(id === undefined && inline !== undefined ? { [isWeb ? addressName : dataName]: inline } : {}),
    ...(typeof output.detail === "string" ? { detail: output.detail } : {}),
    ...(isInput === "input_file" && filename !== undefined ? { filename } : {}),
  };
}

function inlineData(data: string, mediaType: string | undefined): string {
  return mediaType === undefined || data.startsWith("data:") ? data : `data:${mediaType};base64,${data}`;
}
