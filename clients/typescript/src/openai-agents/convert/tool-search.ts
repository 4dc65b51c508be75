/** A search for tools, and the tools it found. */

import { equal, isObject, type Json, type JsonObject } from "./json.js";
import { ID, type Names, renamed, status } from "./fields.js";
import { eachOf, type Field, type Shape } from "./shape.js";

const TOOL_SEARCH_IDS: readonly Field[] = ["call_id", "callId"].map((j) => ({
  r: "call_id",
  j,
  toJs: () => undefined,
  stays: true,
}));
const TOOL_SEARCH_FIELDS: readonly Field[] = [
  ID,
  ...TOOL_SEARCH_IDS,
  { r: "execution", j: "execution", toJs: () => undefined, stays: true },
  status(),
];

const TOOL_SEARCH_CALL: Shape = {
  r: "tool_search_call",
  j: "tool_search_call",
  fields: [...TOOL_SEARCH_FIELDS, { r: "arguments", j: "arguments" }],
  others: ["created_by"],
  alwaysProviderData: () => true,
};

const TOOL_SEARCH_OUTPUT: Shape = {
  r: "tool_search_output",
  j: "tool_search_output",
  fields: [
    ...TOOL_SEARCH_FIELDS,
    { r: "tools", j: "tools", toJs: eachOf(toolToJs), fromJs: eachOf(toolFromJs), required: () => undefined },
  ],
  others: ["created_by"],
  alwaysProviderData: () => true,
};

const TOOL_NAMES: Readonly<Record<string, Names>> = {
  function: { defer_loading: "deferLoading", allowed_callers: "allowedCallers", output_schema: "outputSchema" },
  tool_reference: { function_name: "functionName" },
};

/** A tool that was found: functions have a few names of their own in JavaScript, and namespaces hold tools. */
function toolToJs(tool: Json): Json | undefined {
  return isObject(tool) ? withTools(renamed(namesOf(tool), isNotNull)(tool), toolToJs) : undefined;
}

function toolFromJs(tool: Json): Json {
  const names = isObject(tool) ? Object.entries(namesOf(tool)).map(([r, j]) => [j, r]) : [];
  return withTools(renamed(Object.fromEntries(names) as Names, isNotNull)(tool), toolFromJs);
}

function namesOf(tool: JsonObject): Names {
  return (
    (typeof tool.type === "string" && Object.hasOwn(TOOL_NAMES, tool.type) ? TOOL_NAMES[tool.type] : undefined) ?? {}
  );
}

function withTools(tool: Json, convert: (tool: Json) => Json | undefined): Json {
  return isObject(tool) && tool.type === "namespace" && Array.isArray(tool.tools)
    ? { ...tool, tools: tool.tools.map((held) => convert(held) ?? held) }
    : tool;
}

function isNotNull(value: Json): boolean {
  return !equal(value, null);
}

/** The items of a search for tools. */
export const TOOL_SEARCH: readonly Shape[] = [TOOL_SEARCH_CALL, TOOL_SEARCH_OUTPUT];
