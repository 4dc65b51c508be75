/** What messages and tool outputs are made of: texts, images, files. */

import { isObject, type Json } from "./json.js";
import { type Convert, eachOf, fromShape, onlyText, type Field, type Shape, text, toShape } from "./shape.js";

const PROMPT_CACHE_BREAKPOINT: Field = {
  r: "prompt_cache_breakpoint",
  j: "promptCacheBreakpoint",
  toJs: (value) => (isObject(value) ? value : undefined),
};

const INPUT_TEXT: Shape = {
  r: "input_text",
  j: "input_text",
  fields: [{ ...text("text"), required: () => undefined }, PROMPT_CACHE_BREAKPOINT],
};

const INPUT_IMAGE: Shape = {
  r: "input_image",
  j: "input_image",
  fields: [
    { r: "file_id", j: "image", toJs: toReference("id"), fromJs: fromReference("id") },
    { r: "image_url", j: "image", toJs: onlyText, fromJs: onlyText },
    text("detail"),
    PROMPT_CACHE_BREAKPOINT,
  ],
};

const INPUT_FILE: Shape = {
  r: "input_file",
  j: "input_file",
  fields: [
    { r: "file_data", j: "file", toJs: onlyText, fromJs: (file) => (isWebAddress(file) ? undefined : onlyText(file)) },
    {
      r: "file_url",
      j: "file",
      toJs: toReference("url"),
      fromJs: (file) => (isWebAddress(file) ? file : fromReference("url")(file)),
    },
    { r: "file_id", j: "file", toJs: toReference("id"), fromJs: fromReference("id") },
    text("filename"),
    PROMPT_CACHE_BREAKPOINT,
  ],
  others: ["detail"],
};

const INPUT_AUDIO: Shape = {
  r: "input_audio",
  j: "audio",
  fields: [
    {
      r: "input_audio",
      j: "audio",
      toJs: (value) => (isObject(value) ? onlyText(value.data) : undefined),
      fromJs: (data, part) => ({ data, ...(typeof part.format === "string" ? { format: part.format } : {}) }),
      required: () => undefined,
    },
    {
      r: "input_audio",
      j: "format",
      toJs: (value) => (isObject(value) ? onlyText(value.format) : undefined),
      fromJs: () => undefined,
    },
  ],
};

const OUTPUT_TEXT: Shape = {
  r: "output_text",
  j: "output_text",
  fields: [{ ...text("text"), required: () => undefined }],
  others: ["annotations", "logprobs"],
  adds: { annotations: [] },
};

const REFUSAL: Shape = {
  r: "refusal",
  j: "refusal",
  fields: [{ ...text("refusal"), required: () => undefined }],
};

/** A part of a summary, which the SDK shows as a text of input. */
export const SUMMARY: Shape = {
  r: "summary_text",
  j: "input_text",
  fields: [{ ...text("text"), required: () => undefined }],
  repeats: () => ["type"],
};

/** What a user or a tool may say. */
export const INPUT_PARTS: readonly Shape[] = [INPUT_TEXT, INPUT_IMAGE, INPUT_FILE, INPUT_AUDIO];

/** What a model may say. */
export const OUTPUT_PARTS: readonly Shape[] = [OUTPUT_TEXT, REFUSAL];

/** Converts a list of parts of these shapes; undefined when one of them is of another. */
export function partsToJs(shapes: readonly Shape[]): Convert {
  return eachOf((part) => {
    const shape = isObject(part) ? shapes.find((one) => one.r === part.type) : undefined;
    return shape && isObject(part) ? toShape(shape, part) : undefined;
  });
}

/** Converts a list of parts back. A part without a counterpart stays as it is. */
export function partsFromJs(shapes: readonly Shape[]): Convert {
  return eachOf((part) => {
    const shape = isObject(part) ? shapes.find((one) => one.j === part.type) : undefined;
    return shape && isObject(part) ? fromShape(shape, part) : part;
  });
}

function toReference(key: string): Convert {
  return (value) => (typeof value === "string" ? { [key]: value } : undefined);
}

function fromReference(key: string): Convert {
  return (value) => (isObject(value) ? onlyText(value[key]) : undefined);
}

function isWebAddress(value: Json): boolean {
  return typeof value === "string" && /^\s*https?:\/\//.test(value);
}
