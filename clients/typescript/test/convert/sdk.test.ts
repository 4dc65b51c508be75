/** The converter beside the SDK's own code: what the SDK makes seldom needs a native form, and what it is given it knows. */

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { test } from "node:test";

import { type AgentInputItem, assistant, system, user } from "@openai/agents";
import fc from "fast-check";

import { fromJs, toJs } from "#turntree/openai-agents/convert/index.js";
import { asJson, type Json } from "#turntree/openai-agents/convert/json.js";

import { membersOf } from "./declared.js";

type Output = Exclude<Extract<AgentInputItem, { type: "function_call_result" }>["output"], string | unknown[]>;

interface SdkConverter {
  convertToOutputItem(items: unknown[]): AgentInputItem[];
  getInputItems(items: AgentInputItem[]): unknown[];
}

const resolveFrom = createRequire(import.meta.url);
const agents = createRequire(resolveFrom.resolve("@openai/agents"));
const sdk = agents(
  join(dirname(agents.resolve("@openai/agents-openai")), "openaiResponsesConverter.js"),
) as SdkConverter;

/** What only a program gives to the API, and no model makes. */
const NOT_OF_A_MODEL = ["function_call_output", "computer_call_output", "mcp_approval_response"];

for (const { types, samples, name } of membersOf("OutputItem")) {
  if (NOT_OF_A_MODEL.includes(types[0] ?? "")) {
    continue;
  }
  test(`${name}: what the SDK makes of a model's output needs no native form`, () => {
    fc.assert(
      fc.property(samples, (sample) => {
        const output = { id: "item_1", ...(asJson(sample) as object) };
        fc.pre(!name.startsWith("computer") || hasActions(output));
        const [item] = sdk.convertToOutputItem([output]);
        assert.ok(item);
        assert.equal(fromJs(item).native, undefined);
      }),
      { numRuns: 200 },
    );
  });
}

function hasActions(output: object): boolean {
  return "action" in output || ("actions" in output && Array.isArray(output.actions) && output.actions.length > 0);
}

const OF_THE_RUNNER: Readonly<Record<string, AgentInputItem>> = {
  "a text of the user": { type: "message", role: "user", content: "Hello" },
  "parts of the user": user([
    { type: "input_text", text: "What is this?" },
    { type: "input_image", image: "https://host/picture.png", detail: "low" },
    { type: "input_image", image: { id: "file_1" } },
    { type: "input_file", file: { url: "https://host/paper.pdf" }, filename: "paper.pdf" },
    { type: "input_file", file: "data:text/plain;base64,SGk=" },
  ]),
  "what the program says": system("Be kind."),
  "a tool's text": {
    type: "function_call_result",
    name: "look_up",
    callId: "call_1",
    status: "completed",
    output: { type: "text", text: "done" },
  },
  "a tool's picture": {
    type: "function_call_result",
    name: "draw",
    callId: "call_1",
    status: "completed",
    output: [{ type: "input_image", image: "data:image/png;base64,AA==" }],
  },
  "an aborted tool": {
    type: "function_call_result",
    name: "look_up",
    callId: "call_1",
    status: "incomplete",
    output: { type: "text", text: "aborted" },
  },
  "a screenshot": {
    type: "computer_call_result",
    callId: "call_1",
    output: { type: "computer_screenshot", data: "data:image/png;base64,AA==" },
  },
  "a shell's output": {
    type: "shell_call_output",
    callId: "call_1",
    output: [{ stdout: "a", stderr: "", outcome: { type: "exit", exitCode: 1 } }],
  },
  "a patch's output": { type: "apply_patch_call_output", callId: "call_1", status: "failed", output: "no such file" },
  "a person's consent": {
    type: "hosted_tool_call",
    name: "mcp_approval_response",
    providerData: { approve: true, approval_request_id: "mcpr_1" },
  },
};

for (const [what, item] of Object.entries(OF_THE_RUNNER)) {
  test(`${what}, as the SDK's runner makes it, needs no native form`, () => {
    assert.equal(fromJs(item).native, undefined);
    assert.deepEqual(toJs(fromJs(item).payload), asJson(item));
  });
}

test("what is stored of the runner's items is what every reader of the Responses form knows", () => {
  const stored = Object.values(OF_THE_RUNNER).map((item) => fromJs(item).payload);
  assert.deepEqual(stored.slice(3, 6), [
    { type: "function_call_output", name: "look_up", call_id: "call_1", output: "done" },
    {
      type: "function_call_output",
      name: "draw",
      call_id: "call_1",
      output: [{ type: "input_image", image_url: "data:image/png;base64,AA==" }],
    },
    { type: "function_call_output", name: "look_up", call_id: "call_1", status: "incomplete", output: "aborted" },
  ]);
  assert.deepEqual(stored[7], {
    type: "shell_call_output",
    call_id: "call_1",
    output: [{ stdout: "a", stderr: "", outcome: { type: "exit", exit_code: 1 } }],
  });
});

test("bytes are stored as their base64 text, in the payload and in the native form", () => {
  for (const data of [new Uint8Array([1, 2, 3]), Buffer.from([1, 2, 3])]) {
    const output = { type: "image" as const, image: { data, mediaType: "image/png" } };
    const stored = fromJs({ type: "function_call_result", name: "draw", callId: "c", status: "completed", output });
    assert.deepEqual((stored.payload as { output: unknown }).output, [
      { type: "input_image", image_url: "data:image/png;base64,AQID" },
    ]);
    assert.deepEqual((stored.native as { output: unknown }).output, {
      type: "image",
      image: { data: "AQID", mediaType: "image/png" },
    });
  }
});

test("what a tool of the SDK returns as a file is stored as a file of the Responses form", () => {
  const files: readonly (readonly [Extract<Output, { type: "file" }>["file"], object])[] = [
    ["data:text/plain;base64,SGk=", { file_data: "data:text/plain;base64,SGk=" }],
    [
      { url: "https://host/a.pdf", filename: "a.pdf" },
      { file_url: "https://host/a.pdf", filename: "a.pdf" },
    ],
    [{ id: "file_1" }, { file_id: "file_1" }],
    [
      { data: "SGk=", mediaType: "text/plain", filename: "a.txt" },
      { file_data: "data:text/plain;base64,SGk=", filename: "a.txt" },
    ],
  ];
  for (const [file, stored] of files) {
    const item = { type: "function_call_result", name: "read", callId: "c", status: "completed" } as const;
    const { payload } = fromJs({ ...item, output: { type: "file" as const, file } });
    assert.deepEqual((payload as { output: unknown }).output, [{ type: "input_file", ...stored }]);
  }
});

test("what the Responses form requires is stored, and what JavaScript names otherwise has its name there", () => {
  assert.deepEqual(fromJs(assistant("Hi")).payload, {
    type: "message",
    role: "assistant",
    content: [{ type: "output_text", text: "Hi", annotations: [] }],
  });
  const screenshot = OF_THE_RUNNER["a screenshot"] as Extract<AgentInputItem, { type: "computer_call_result" }>;
  const checks = [{ id: "check_1" }];
  assert.deepEqual(fromJs({ ...screenshot, providerData: { acknowledgedSafetyChecks: checks } }).payload, {
    type: "computer_call_output",
    call_id: "call_1",
    output: { type: "computer_screenshot", image_url: "data:image/png;base64,AA==" },
    acknowledged_safety_checks: checks,
  });
});

/** Items as the Agents SDK for Python stores them, and what the SDK for JavaScript then sends to the model. */
const OF_PYTHON: readonly (readonly [Json, Json?])[] = [
  [{ role: "user", content: "Hello" }],
  [{ role: "developer", content: "Be brief." }],
  [{ role: "system", content: [{ type: "input_text", text: "Be kind." }] }],
  [
    { role: "assistant", content: "Hi" },
    {
      type: "message",
      role: "assistant",
      status: "completed",
      content: [{ type: "output_text", text: "Hi", annotations: [] }],
    },
  ],
  [
    {
      id: "msg_1",
      type: "message",
      role: "assistant",
      status: "completed",
      content: [{ type: "output_text", text: "Hi", annotations: [], logprobs: [] }],
    },
  ],
  [{ id: "rs_1", type: "reasoning", summary: [{ type: "summary_text", text: "So." }], encrypted_content: "x" }],
  [{ id: "fc_1", type: "function_call", call_id: "c1", name: "add", arguments: "{}", status: "completed" }],
  [
    { type: "function_call_output", call_id: "c1", output: "3" },
    { type: "function_call_output", call_id: "c1", output: "3", status: "completed" },
  ],
  [{ id: "ctc_1", type: "custom_tool_call", call_id: "c2", name: "sql", input: "SELECT 1" }],
  [{ type: "custom_tool_call_output", call_id: "c2", output: "1" }],
  [{ id: "ws_1", type: "web_search_call", status: "completed", action: { type: "search", query: "q" } }],
  [{ type: "item_reference", id: "msg_0" }],
];

for (const [stored, sent = stored] of OF_PYTHON) {
  test(`${JSON.stringify(stored).slice(0, 60)} of Python means the same to the SDK for JavaScript`, () => {
    assert.deepEqual(asJson(sdk.getInputItems([toJs(stored)])[0]), sent);
  });
}
