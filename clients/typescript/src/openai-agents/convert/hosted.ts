/** Tools that the model's maker runs. JavaScript has one kind of item for all, told apart by its name. */

import { type JsonObject } from "./json.js";
import { type Shape, text } from "./shape.js";
import { CALLER, repeatsOfModel } from "./fields.js";

function hosted(r: string, others: readonly string[], more: Partial<Shape> = {}): Shape {
  return {
    r,
    j: "hosted_tool_call",
    constants: { name: r },
    fields: [text("id"), text("status"), { ...CALLER, stays: true }],
    others: ["created_by", ...others],
    repeats: repeatsOfModel,
    ...more,
  };
}

/** An item of an MCP server: JavaScript always says that it is completed. */
function mcp(r: string, others: readonly string[], more: Partial<Shape> = {}): Shape {
  return hosted(r, ["status", ...others], {
    constants: { name: r, status: "completed" },
    fields: [text("id"), { ...CALLER, stays: true }],
    ...more,
  });
}

const IMAGE_FIELDS = [
  ...["action", "background", "error", "output_format", "quality", "revised_prompt", "size", "svg_usage"],
  ...["agent_state", "moderation"],
];

/** The tools that both sides have. */
export const HOSTED: readonly Shape[] = [
  hosted("file_search_call", ["queries", "results"]),
  hosted("web_search_call", ["action"]),
  hosted("code_interpreter_call", ["code", "container_id", "outputs"]),
  hosted("image_generation_call", IMAGE_FIELDS, {
    fields: [text("id"), text("status"), { ...text("result", "output"), stays: true }, { ...CALLER, stays: true }],
  }),
  mcp("mcp_list_tools", ["server_label", "tools", "error"]),
  mcp("mcp_approval_request", ["arguments", "name", "server_label"]),
  mcp("mcp_approval_response", ["approval_request_id", "approve", "reason", "id"], {
    constants: { name: "mcp_approval_response" },
    fields: [{ ...CALLER, stays: true }],
    repeats: () => [],
  }),
  mcp("mcp_call", ["approval_request_id", "arguments", "error", "name", "server_label"], {
    fields: [text("id"), { ...text("output"), stays: true }, { ...CALLER, stays: true }],
  }),
];

/** Names that earlier versions of the SDK used. */
const FORMER_NAMES: Readonly<Record<string, string>> = {
  web_search: "web_search_call",
  file_search: "file_search_call",
  code_interpreter: "code_interpreter_call",
  image_generation: "image_generation_call",
};

/** The shape of a hosted tool's call in JavaScript; undefined when it is of none of these tools. */
export function hostedShape(item: JsonObject): Shape | undefined {
  const given = typeof item.providerData === "object" && !Array.isArray(item.providerData) ? item.providerData : null;
  for (const name of [given?.type, item.name]) {
    if (typeof name === "string") {
      const type = Object.hasOwn(FORMER_NAMES, name) ? FORMER_NAMES[name] : name;
      const shape = HOSTED.find((one) => one.r === type);
      if (shape) {
        return shape;
      }
    }
  }
  return undefined;
}
