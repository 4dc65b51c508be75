import {
  type AgentOutputItem,
  type Model,
  type ModelRequest,
  type ModelResponse,
  type StreamEvent,
  Usage,
} from "@openai/agents";

/** A model that says what it is told to say. */
export class ScriptedModel implements Model {
  /** What it was asked. */
  readonly requests: ModelRequest[] = [];

  readonly #outputs: AgentOutputItem[][];

  constructor(...outputs: AgentOutputItem[][]) {
    this.#outputs = outputs;
  }

  getResponse(request: ModelRequest): Promise<ModelResponse> {
    this.requests.push({ ...request, input: structuredClone(request.input) });
    const output = this.#outputs.shift();
    if (output === undefined) throw new Error("the script is at its end");
    const usage = new Usage({
      requests: 1,
      inputTokens: 10,
      outputTokens: 5,
      totalTokens: 15,
      inputTokensDetails: { cached_tokens: 4 },
      outputTokensDetails: { reasoning_tokens: 2 },
    });
    return Promise.resolve({ usage, output, responseId: `response ${this.requests.length}` });
  }

  async *getStreamedResponse(request: ModelRequest): AsyncIterable<StreamEvent> {
    const { usage, output } = await this.getResponse(request);
    const { inputTokens, outputTokens, totalTokens } = usage;
    const response = {
      id: `response ${this.requests.length}`,
      output,
      usage: { inputTokens, outputTokens, totalTokens },
    };
    yield { type: "response_done", response } as StreamEvent;
  }
}

/** What the assistant says. */
export function says(text: string): AgentOutputItem {
  return {
    type: "message",
    id: `message of ${text}`,
    role: "assistant",
    status: "completed",
    content: [{ type: "output_text", text }],
  };
}

/** A call of a tool. */
export function calls(name: string, callId: string, parameters: object): AgentOutputItem {
  return { type: "function_call", callId, name, status: "completed", arguments: JSON.stringify(parameters) };
}
