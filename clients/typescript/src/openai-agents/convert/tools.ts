/** Calls of tools that the agent's own process answers, what they answered, and what a model keeps for itself. */

import { isObject, type Json } from "./json.js";
import { SUMMARY, partsFromJs, partsToJs } from "./content.js";
import { CALL_ID, CALLER, ID, type Names, renamed, repeatsOfModel, status } from "./fields.js";
import { TOOL_OUTPUT } from "./messages.js";
import { eachOf, onlyText, type Shape, text } from "./shape.js";
import { TOOL_SEARCH } from "./tool-search.js";

const FUNCTION_CALL: Shape = {
  r: "function_call",
  j: "function_call",
  fields: [
    ID,
    CALL_ID,
    { ...text("name"), required: () => undefined },
    text("namespace"),
    status(),
    { ...text("arguments"), required: () => undefined },
    CALLER,
  ],
  others: ["async", "created_by"],
  repeats: repeatsOfModel,
};

/** JavaScript requires a name and a status, which the Responses form may leave out. */
const FUNCTION_CALL_OUTPUT: Shape = {
  r: "function_call_output",
  j: "function_call_result",
  fields: [
    ID,
    CALL_ID,
    {
      ...text("name"),
      required: (stored) => onlyText(stored.call_id),
      implied: (item) => item.callId,
    },
    text("namespace"),
    { ...status("completed"), implied: () => "completed" },
    { r: "output", j: "output", ...TOOL_OUTPUT, required: () => undefined },
    CALLER,
  ],
  others: ["created_by"],
};

const REASONING: Shape = {
  r: "reasoning",
  j: "reasoning",
  fields: [
    ID,
    {
      r: "summary",
      j: "content",
      toJs: partsToJs([SUMMARY]),
      fromJs: partsFromJs([SUMMARY]),
      required: (stored) => (Array.isArray(stored.summary) ? undefined : []),
    },
    { r: "content", j: "rawContent", toJs: () => undefined, stays: true },
  ],
  others: ["encrypted_content", "status"],
  repeats: repeatsOfModel,
};

/** JavaScript also has the first of several actions in a field of its own. */
const COMPUTER_CALL: Shape = {
  r: "computer_call",
  j: "computer_call",
  fields: [
    ID,
    CALL_ID,
    status("completed"),
    {
      r: "action",
      j: "action",
      toJs: (action) => (isObject(action) ? action : undefined),
      required: (stored) => (Array.isArray(stored.actions) ? stored.actions[0] : undefined),
      implied: (item) => (Array.isArray(item.actions) ? item.actions[0] : undefined),
    },
    { r: "actions", j: "actions", toJs: (actions) => (Array.isArray(actions) && actions.length ? actions : undefined) },
  ],
  others: ["pending_safety_checks", "created_by"],
  repeats: repeatsOfModel,
};

const COMPUTER_CALL_OUTPUT: Shape = {
  r: "computer_call_output",
  j: "computer_call_result",
  fields: [
    ID,
    CALL_ID,
    {
      r: "output",
      j: "output",
      toJs: (output) =>
        isObject(output) && output.type === "computer_screenshot" && typeof output.image_url === "string"
          ? { type: "computer_screenshot", data: output.image_url }
          : undefined,
      fromJs: renamed({ data: "image_url" }),
      required: () => undefined,
    },
  ],
  others: ["acknowledged_safety_checks", "status", "created_by"],
};

const SHELL_CALL: Shape = {
  r: "shell_call",
  j: "shell_call",
  fields: [
    ID,
    CALL_ID,
    status("in_progress"),
    {
      r: "action",
      j: "action",
      toJs: (action) =>
        isObject(action) && Array.isArray(action.commands)
          ? {
              commands: action.commands,
              ...(typeof action.timeout_ms === "number" ? { timeoutMs: action.timeout_ms } : {}),
              ...(typeof action.max_output_length === "number" ? { maxOutputLength: action.max_output_length } : {}),
            }
          : undefined,
      fromJs: renamed({ timeoutMs: "timeout_ms", maxOutputLength: "max_output_length" }),
      required: () => undefined,
    },
    CALLER,
  ],
  others: ["environment", "created_by"],
  repeats: repeatsOfModel,
};

const SHELL_CALL_OUTPUT: Shape = {
  r: "shell_call_output",
  j: "shell_call_output",
  fields: [
    ID,
    CALL_ID,
    status(),
    {
      r: "output",
      j: "output",
      toJs: eachOf((entry) => outcomeRenamed(entry, { exit_code: "exitCode" })),
      fromJs: eachOf((entry) => outcomeRenamed(entry, { exitCode: "exit_code" })),
      required: () => undefined,
    },
    {
      r: "max_output_length",
      j: "maxOutputLength",
      toJs: (length) => (typeof length === "number" ? length : undefined),
    },
    CALLER,
  ],
  others: ["created_by"],
  repeats: repeatsOfModel,
};

/** A command that was cut off has no exit code in JavaScript; the Responses form wants a number. */
function outcomeRenamed(entry: Json, names: Names): Json {
  if (!isObject(entry) || !isObject(entry.outcome)) {
    return entry;
  }
  const outcome = renamed(names)(entry.outcome);
  return {
    ...entry,
    outcome: isObject(outcome) && outcome.exit_code === null ? { ...outcome, exit_code: 0 } : outcome,
  };
}

const APPLY_PATCH_CALL: Shape = {
  r: "apply_patch_call",
  j: "apply_patch_call",
  fields: [
    ID,
    CALL_ID,
    status("in_progress"),
    {
      r: "operation",
      j: "operation",
      toJs: (operation) => (isObject(operation) ? renamed({ move_to: "moveTo" }, isText)(operation) : undefined),
      fromJs: renamed({ moveTo: "move_to" }, isText),
      required: () => undefined,
    },
    CALLER,
  ],
  others: ["created_by"],
  repeats: repeatsOfModel,
};

const APPLY_PATCH_CALL_OUTPUT: Shape = {
  r: "apply_patch_call_output",
  j: "apply_patch_call_output",
  fields: [ID, CALL_ID, { ...status(), required: () => undefined }, text("output"), CALLER],
  others: ["created_by"],
  repeats: repeatsOfModel,
};

function isText(value: Json): boolean {
  return typeof value === "string";
}

const PROGRAM: Shape = {
  r: "program",
  j: "program",
  fields: [
    ID,
    CALL_ID,
    { ...text("code"), required: () => undefined },
    { ...text("fingerprint"), required: () => undefined },
  ],
  alwaysProviderData: () => true,
};

const PROGRAM_OUTPUT: Shape = {
  r: "program_output",
  j: "program_output",
  fields: [
    ID,
    CALL_ID,
    { ...text("result", "output"), required: () => undefined },
    { ...status(), required: () => undefined },
  ],
  alwaysProviderData: () => true,
};

const COMPACTION: Shape = {
  r: "compaction",
  j: "compaction",
  fields: [ID, { ...text("encrypted_content"), required: () => undefined }, text("created_by")],
  repeats: repeatsOfModel,
};

/** The items, other than messages and hosted tools, that both sides have. */
export const TOOLS: readonly Shape[] = [
  FUNCTION_CALL,
  FUNCTION_CALL_OUTPUT,
  REASONING,
  COMPUTER_CALL,
  COMPUTER_CALL_OUTPUT,
  SHELL_CALL,
  SHELL_CALL_OUTPUT,
  APPLY_PATCH_CALL,
  APPLY_PATCH_CALL_OUTPUT,
  ...TOOL_SEARCH,
  PROGRAM,
  PROGRAM_OUTPUT,
  COMPACTION,
];
