/** Which types and fields the converter knows, to be compared with what the SDKs declare. */

import { HOSTED } from "./hosted.js";
import { MESSAGES } from "./messages.js";
import { fieldsOf } from "./shape.js";
import { TOOLS } from "./tools.js";

const SHAPES = [...MESSAGES, ...TOOLS, ...HOSTED];

/** Types of the Responses form that JavaScript has no item for: they come as `unknown`, with all they hold. */
export const WITHOUT_COUNTERPART: readonly string[] = [
  "additional_tools",
  "compaction_trigger",
  "configuration_update",
  "custom_tool_call",
  "custom_tool_call_output",
  "item_reference",
  "local_shell_call",
  "local_shell_call_output",
];

/** Fields of JavaScript's items that the Responses form has no place for: they are in the native form alone. */
export const NATIVE_ONLY: Readonly<Record<string, readonly string[]>> = {
  hosted_tool_call: ["arguments"],
  tool_search_output: ["toolSearchAgentName", "toolSearchMcpToolNames"],
};

/** The fields of each type of the Responses form that has a counterpart. */
export function knownFields(): Map<string, Set<string>> {
  return collected((shape) => [shape.r, fieldsOf(shape)]);
}

/** The fields of each type of JavaScript's items, of all that can be said without the native form. */
export function knownJsFields(): Map<string, Set<string>> {
  const known = collected((shape) => [
    shape.j,
    ["type", "providerData", ...Object.keys(shape.constants ?? {}), ...shape.fields.map((field) => field.j)],
  ]);
  return known.set("unknown", new Set(["type", "id", "providerData"]));
}

function collected(fields: (shape: (typeof SHAPES)[number]) => [string, Iterable<string>]): Map<string, Set<string>> {
  const known = new Map<string, Set<string>>();
  for (const shape of SHAPES) {
    const [type, names] = fields(shape);
    known.set(type, new Set([...(known.get(type) ?? []), ...names]));
  }
  return known;
}
