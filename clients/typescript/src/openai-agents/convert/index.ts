import type { AgentInputItem } from "@openai/agents";

/** The name of this SDK's native form. */
export const DIALECT = "openai-agents-js";

/** What is stored of an item. */
export interface Stored {
  /** The item in the Responses form, which every reader understands. */
  readonly payload: unknown;
  /** The item itself, when the payload does not bring it back exactly. */
  readonly native?: unknown;
}

type Fields = Record<string, unknown>;

/** The JavaScript form of a stored payload. */
export function toJs(payload: unknown): AgentInputItem {
  const item = payload as Fields;
  switch (item.type) {
    case "function_call": {
      const { call_id: callId, ...rest } = item;
      return { callId, ...rest } as unknown as AgentInputItem;
    }
    case "function_call_output": {
      const { call_id: callId, output } = item;
      return {
        type: "function_call_result",
        callId,
        name: "",
        status: "completed",
        output,
      } as unknown as AgentInputItem;
    }
    default: {
      const { role, content } = item;
      const text = typeof content === "string" ? content : JSON.stringify(content);
      if (role !== "assistant") return item as unknown as AgentInputItem;
      return { type: "message", role, status: "completed", content: [{ type: "output_text", text }] };
    }
  }
}

/** What to store of a JavaScript item. */
export function fromJs(item: AgentInputItem): Stored {
  const native = JSON.parse(JSON.stringify(item)) as Fields;
  switch (native.type) {
    case "function_call": {
      const { callId, ...rest } = native;
      return { payload: { ...rest, call_id: callId }, native };
    }
    case "function_call_result": {
      const { callId, output } = native;
      const text = typeof output === "string" ? output : ((output as Fields).text ?? JSON.stringify(output));
      return { payload: { type: "function_call_output", call_id: callId, output: text }, native };
    }
    default:
      return { payload: native, native };
  }
}
