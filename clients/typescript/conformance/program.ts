// Plays conformance steps: one line of JSON on stdin is one step, one line on stdout is its answer.
import { createInterface } from "node:readline";
import { fromJson, toJson } from "@bufbuild/protobuf";
import type { DescMethod, JsonObject, JsonValue, Message } from "@bufbuild/protobuf";
import {
  BranchService,
  ErrorReasonSchema,
  SessionService,
  TurnService,
  TurntreeClient,
  TurntreeError,
  UsageService,
} from "turntree";
import type { CallOptions } from "turntree";

interface Step {
  call?: string;
  request?: JsonValue;
  take?: number;
  timeout_s?: number;
  start?: string;
  next?: string;
  stop?: string;
}

interface Stream {
  method: DescMethod;
  responses: AsyncGenerator<Message>;
}

type Unary = (request: Message, options: CallOptions) => Promise<Message>;
type Streaming = (request: Message) => AsyncGenerator<Message>;

const SERVICES = new Map(
  [SessionService, BranchService, TurnService, UsageService].map((service) => [service.name, service]),
);

class Program {
  readonly #client: TurntreeClient;
  readonly #streams = new Map<string, Stream>();

  constructor(address: string) {
    this.#client = new TurntreeClient(address);
  }

  async play(step: Step): Promise<JsonObject> {
    if (step.next !== undefined) return await read(this.#stream(step.next), step.take);
    if (step.stop !== undefined) {
      await this.#stream(step.stop).responses.return(undefined);
      this.#streams.delete(step.stop);
      return { stopped: step.stop };
    }
    const [service = "", name = ""] = (step.call ?? "").split("/");
    const method = SERVICES.get(service)?.methods.find((one) => one.name === name);
    if (method === undefined) return { unsupported: `no call '${step.call ?? ""}'` };
    const request = fromJson(method.input, step.request ?? {});
    if (method.methodKind === "unary") {
      const calls = this.#client as unknown as Record<string, Unary>;
      return await answer(method, step, (options) => calls[method.localName]?.(request, options));
    }
    const responses = (this.#client as unknown as Record<string, Streaming>)[method.localName]?.(request);
    if (responses === undefined) return { unsupported: method.name };
    const stream = { method, responses };
    if (step.start !== undefined) {
      this.#streams.set(step.start, stream);
      return { started: step.start };
    }
    const result = await read(stream, step.take);
    await stream.responses.return(undefined);
    return result;
  }

  close(): void {
    this.#client.close();
  }

  #stream(name: string): Stream {
    const stream = this.#streams.get(name);
    if (stream === undefined) throw new Error(`no stream '${name}' was started`);
    return stream;
  }
}

async function answer(
  method: DescMethod,
  step: Step,
  call: (options: CallOptions) => Promise<Message> | undefined,
): Promise<JsonObject> {
  try {
    const response = await call(step.timeout_s === undefined ? {} : { timeoutMs: step.timeout_s * 1000 });
    return response === undefined ? { unsupported: method.name } : { response: json(method, response) };
  } catch (error) {
    return { error: described(error) };
  }
}

async function read({ method, responses }: Stream, take = Infinity): Promise<JsonObject> {
  const given: JsonValue[] = [];
  try {
    while (given.length < take) {
      const next = await responses.next();
      if (next.done === true) break;
      given.push(json(method, next.value));
    }
  } catch (error) {
    return { responses: given, error: described(error) };
  }
  return { responses: given };
}

function json(method: DescMethod, message: Message): JsonValue {
  return toJson(method.output, message, { useProtoFieldName: true });
}

function described(error: unknown): JsonObject {
  if (!(error instanceof TurntreeError)) throw error;
  return {
    code: error.code,
    reason: ErrorReasonSchema.value[error.reason].name,
    facts: { ...error.facts },
    message: error.message,
  };
}

const [address] = process.argv.slice(2);
if (address === undefined) throw new Error("usage: run URL");
const program = new Program(address);
for await (const line of createInterface(process.stdin)) {
  console.log(JSON.stringify(await program.play(JSON.parse(line) as Step)));
}
program.close();
