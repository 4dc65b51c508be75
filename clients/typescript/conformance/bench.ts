// Measures turns through the client and the same bytes through a bare echo, by Connect's gRPC transport as well:
// bench TURNTREE_URL ECHO_URL. What it reads and prints is told in benchmarks/rows/languages.py.
import { randomUUID } from "node:crypto";
import { createInterface } from "node:readline";
import { create, type DescMethodUnary, type JsonValue, type MessageShape, toBinary } from "@bufbuild/protobuf";
import { BytesValueSchema } from "@bufbuild/protobuf/wkt";
import type { Transport } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { AddItemsRequestSchema, DeltaKind, GetItemsRequestSchema, type SessionHandle, TurntreeClient } from "turntree";

const SESSIONS = 64;
const HISTORY_TURNS = 25;
const BACK = {
  kind: "rpc",
  methodKind: "unary",
  name: "Back",
  localName: "back",
  parent: { typeName: "benchmarks.Echo" },
  input: BytesValueSchema,
  output: BytesValueSchema,
} as DescMethodUnary<typeof BytesValueSchema, typeof BytesValueSchema>;

/** A conversation with a history, and what is to be said in it. */
class Conversation {
  #cursor: Uint8Array | undefined;
  #next = 0;
  readonly #echoes: MessageShape<typeof BytesValueSchema>[][];

  private constructor(
    private readonly session: SessionHandle,
    private readonly echo: Transport,
    private readonly turns: Uint8Array[][],
    cursor: Uint8Array,
  ) {
    this.#cursor = cursor;
    const { sessionId, branch } = session;
    this.#echoes = turns.map((items) => [
      wrapped(toBinary(GetItemsRequestSchema, create(GetItemsRequestSchema, { sessionId, branch, cursor }))),
      wrapped(
        toBinary(
          AddItemsRequestSchema,
          create(AddItemsRequestSchema, { sessionId, branch, items, requestId: randomUUID() }),
        ),
      ),
    ]);
  }

  static async begun(session: SessionHandle, echo: Transport, turns: Uint8Array[][]) {
    const history = turns.slice(0, HISTORY_TURNS).flat();
    await session.addItems({ items: history });
    const { delta } = await session.getItems();
    if (delta?.items.length !== history.length) throw new Error("the history was not read");
    return new Conversation(session, echo, turns.slice(HISTORY_TURNS), delta.cursor);
  }

  async turn(): Promise<void> {
    const { delta } = await this.session.getItems({ cursor: this.#cursor });
    if (delta === undefined || delta.kind === DeltaKind.REPLACED) throw new Error("more was read than is new");
    this.#cursor = delta.cursor;
    await this.session.addItems({ items: this.turns[this.#next++ % this.turns.length] ?? [] });
  }

  async echoTurn(): Promise<void> {
    for (const request of this.#echoes[this.#next++ % this.#echoes.length] ?? []) {
      const { message } = await this.echo.unary(BACK, undefined, undefined, undefined, request);
      if (message.value.length !== request.value.length) throw new Error("the echo says something else");
    }
  }
}

function wrapped(value: Uint8Array) {
  return create(BytesValueSchema, { value: new Uint8Array(value) });
}

/** Let conversations make turns for a while, each one after another. */
async function measure(turn: (of: Conversation) => Promise<void>, conversations: Conversation[], seconds: number) {
  const latencies: number[] = [];
  const start = performance.now();
  await Promise.all(
    conversations.map(async (conversation) => {
      for (let begin = start; begin - start < 1000 * seconds;) {
        await turn(conversation);
        const end = performance.now();
        latencies.push(end - begin);
        begin = end;
      }
    }),
  );
  return { elapsed_s: (performance.now() - start) / 1000, latencies_ms: latencies };
}

const SIDES = new Map<string, (of: Conversation) => Promise<void>>([
  ["turns", (conversation) => conversation.turn()],
  ["echo", (conversation) => conversation.echoTurn()],
]);

const [url, echoUrl] = process.argv.slice(2);
if (url === undefined || echoUrl === undefined) throw new Error("usage: bench TURNTREE_URL ECHO_URL");
const echo = createGrpcTransport({ baseUrl: `http://${echoUrl}` });
const client = new TurntreeClient(url);
const lines = createInterface(process.stdin)[Symbol.asyncIterator]();

const first = await lines.next();
const read = JSON.parse(String(first.value)) as JsonValue[][];
if (read.length <= HISTORY_TURNS) throw new Error(`${read.length} turns are given, a history has ${HISTORY_TURNS}`);
const turns = read.map((items) => items.map((item) => new TextEncoder().encode(JSON.stringify(item))));
const name = randomUUID();
const conversations: Conversation[] = [];
for (let number = 0; number < SESSIONS; number++) {
  conversations.push(await Conversation.begun(client.session(`bench-${name}-${number}`), echo, turns));
}
for await (const line of lines) {
  const [side = "", callers, seconds] = line.split(" ");
  const turn = SIDES.get(side);
  if (turn === undefined) throw new Error(`no side '${side}'`);
  console.log(JSON.stringify(await measure(turn, conversations.slice(0, Number(callers)), Number(seconds))));
}
client.close();
process.exit();
