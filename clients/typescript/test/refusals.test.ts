// What a server says that no real one can be made to say at will. It does not know the stream of calls, so that each call
// comes by itself; see pipeline.test.ts for the stream.
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http2";
import type { AddressInfo } from "node:net";
import { after, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Code, ConnectError, type HandlerContext } from "@connectrpc/connect";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import { ErrorInfoSchema, RetryInfoSchema } from "#turntree/gen/google/rpc/error_details_pb.js";
import { DeltaKind, ErrorReason, SessionService, type StreamItemsRequest, TurntreeClient } from "turntree";
import { TurntreeSession } from "turntree/openai-agents";
import { contents, message, next } from "./support/collect.js";

let answers: (Error | undefined)[] = [];
let seen: { headers: Headers; requestId: string }[] = [];

const answer = (requestId: string, context: HandlerContext) => {
  seen.push({ headers: context.requestHeader, requestId });
  const error = answers.shift();
  if (error !== undefined) throw error;
  return {};
};
const atWork: number[] = [];
let streams: (Delta | ConnectError)[][] = [];
let streamItemsRequest: StreamItemsRequest | undefined;

interface Delta {
  kind: DeltaKind;
  branch?: { branchId: string; generation: bigint };
  cursor?: Uint8Array;
  items?: Uint8Array[];
  more?: boolean;
}

/** What the next stream says, message by message. */
async function* parts(): AsyncGenerator<{ delta: Delta }> {
  for (const part of streams.shift() ?? []) {
    if (part instanceof ConnectError) throw part;
    yield await Promise.resolve({ delta: part });
  }
  if (streams.length === 0) await sleep(60_000, undefined, { ref: false });
}

let streamsOfCalls = 0;
const listener = createServer(
  connectNodeAdapter({
    routes: (router) =>
      router.service(SessionService, {
        clearSession: ({ requestId }, context) => answer(requestId, context),
        getSession: (_, context) => answer("", context),
        addItems: async () => {
          atWork.push((atWork.at(-1) ?? 0) + 1);
          await sleep(5);
          atWork.push((atWork.at(-1) ?? 0) - 1);
          return {};
        },
        watch: () => parts(),
        getItems: () => next(parts()),
        streamItems: (request) => {
          streamItemsRequest = request;
          return parts();
        },
      }),
  }),
)
  .on("stream", (_, headers) => (streamsOfCalls += headers[":path"]?.endsWith("/Pipeline") ? 1 : 0))
  .listen(0, "127.0.0.1");
await once(listener, "listening");
const address = `127.0.0.1:${(listener.address() as AddressInfo).port}`;
after(() => listener.close());

function script(...errors: (Error | undefined)[]): void {
  answers = errors;
  seen = [];
}

function refusal(code: Code, reason: string, retryAfterMs?: number): ConnectError {
  const info = { desc: ErrorInfoSchema, value: { reason, domain: "turntree", metadata: { limit: "1" } } };
  const retry = { desc: RetryInfoSchema, value: { retryDelay: durationFromMs(retryAfterMs ?? 0) } };
  return new ConnectError("refused", code, undefined, retryAfterMs === undefined ? [info] : [info, retry]);
}

test("a server that does not know the stream of calls is asked for it once, and gets each call by itself", async () => {
  script();
  streamsOfCalls = 0;
  const client = new TurntreeClient(address, { retryMs: 0 });
  await Promise.all(Array.from({ length: 150 }, () => client.clearSession({ sessionId: "s" })));
  await client.getSession({ sessionId: "s" });
  assert.deepEqual([seen.length, streamsOfCalls], [151, 1]);
  client.close();
});

test("a refusal for load is tried again after the time that the server asks for", async () => {
  script(refusal(Code.ResourceExhausted, "ERROR_REASON_MESSAGE_TOO_LARGE", 200));
  const client = new TurntreeClient(address);
  const began = performance.now();
  await client.clearSession({ sessionId: "s" });
  assert(performance.now() - began >= 199);
  assert.equal(seen.length, 2);
  client.close();
});

test("a limit that does not pass by itself is not tried again", async () => {
  script(refusal(Code.ResourceExhausted, "ERROR_REASON_MESSAGE_TOO_LARGE"));
  const client = new TurntreeClient(address);
  await assert.rejects(client.clearSession({ sessionId: "s" }), {
    code: "RESOURCE_EXHAUSTED",
    reason: ErrorReason.MESSAGE_TOO_LARGE,
    facts: { limit: "1" },
  });
  assert.equal(seen.length, 1);
  client.close();
});

test("what HTTP/2 says of a broken connection is tried again, all tries with the same request id", async () => {
  script(...[Code.Internal, Code.Unknown, Code.Canceled, Code.Aborted].map((code) => new ConnectError("broken", code)));
  const client = new TurntreeClient(address);
  await client.clearSession({ sessionId: "s" });
  assert.equal(seen.length, 5);
  assert.equal(new Set(seen.map(({ requestId }) => requestId)).size, 1);
  assert.match(seen[0]?.requestId ?? "", /^[\da-f-]{36}$/);
  client.close();
});

test("a fault of the server itself is not tried again", async () => {
  script(refusal(Code.Internal, "ERROR_REASON_INTERNAL"));
  const client = new TurntreeClient(address);
  await assert.rejects(client.getSession({ sessionId: "s" }), { code: "INTERNAL", reason: ErrorReason.INTERNAL });
  assert.equal(seen.length, 1);
  client.close();
});

test("a reason of a newer server is told by its code and facts", async () => {
  script(refusal(Code.FailedPrecondition, "ERROR_REASON_OF_TOMORROW"));
  const client = new TurntreeClient(address);
  await assert.rejects(client.getSession({ sessionId: "s" }), {
    code: "FAILED_PRECONDITION",
    reason: ErrorReason.UNSPECIFIED,
    facts: { limit: "1" },
  });
  client.close();
});

test("every try carries a token, a fresh one if it is a function", async () => {
  script(refusal(Code.Unavailable, "ERROR_REASON_STORE_BUSY"));
  let count = 0;
  const client = new TurntreeClient(address, { token: () => Promise.resolve(`t${++count}`) });
  await client.getSession({ sessionId: "s" });
  // The first one went with the stream that the server does not know.
  assert.deepEqual(
    seen.map(({ headers }) => headers.get("authorization")),
    ["Bearer t2", "Bearer t3"],
  );
  client.close();

  script();
  process.env.TURNTREE_TOKEN = "of-the-environment";
  const other = new TurntreeClient(address);
  delete process.env.TURNTREE_TOKEN;
  await other.getSession({ sessionId: "s" });
  assert.equal(seen[0]?.headers.get("authorization"), "Bearer of-the-environment");
  other.close();
});

test("a client that is closed ends a call that waits to be tried again", async () => {
  script(refusal(Code.ResourceExhausted, "ERROR_REASON_MESSAGE_TOO_LARGE", 7_000));
  const client = new TurntreeClient(address, { retryMs: 60_000 });
  const call = client.clearSession({ sessionId: "s" });
  while (seen.length === 0) await sleep(5);
  await sleep(20);
  const began = performance.now();
  client.close();
  await assert.rejects(call, { reason: ErrorReason.SERVER_STOPPING });
  assert(performance.now() - began < 3_000);
});

test("a watch that goes on says what changed and nothing else, however long the server was away", async () => {
  const away = () => [refusal(Code.Unavailable, "ERROR_REASON_SERVER_STOPPING")];
  const cursor = Uint8Array.of(1);
  const news = { kind: DeltaKind.APPENDED, cursor: Uint8Array.of(2), items: [message("user", "news")] };
  streams = [
    [{ kind: DeltaKind.REPLACED, cursor }, ...away()],
    away(),
    away(),
    [{ kind: DeltaKind.UNCHANGED, cursor }, news],
  ];
  const client = new TurntreeClient(address, { retryMs: 110 });
  const changes = client.watch({ sessionId: "s" });
  assert.equal((await next(changes)).delta?.kind, DeltaKind.REPLACED);
  const { delta } = await next(changes);
  assert.deepEqual([delta?.kind, contents(delta?.items)], [DeltaKind.APPENDED, ["news"]]);
  client.close();
});

test("a watch from a cursor says at first that nothing is new, also when the server was away at first", async () => {
  const branch = { branchId: "main", generation: 1n };
  const unchanged = { kind: DeltaKind.UNCHANGED, cursor: Uint8Array.of(1), branch };
  streams = [[refusal(Code.Unavailable, "ERROR_REASON_SERVER_STOPPING")], [unchanged]];
  const client = new TurntreeClient(address);
  const changes = client.watch(
    { sessionId: "s", branch, cursor: unchanged.cursor },
    { signal: AbortSignal.timeout(5_000) },
  );
  assert.equal((await next(changes)).delta?.kind, DeltaKind.UNCHANGED);
  client.close();
});

test("a session reads what a branch is, also when it is rewritten meanwhile", async () => {
  const part = (text: string, more: boolean) => ({
    kind: DeltaKind.REPLACED,
    cursor: Buffer.from(text),
    items: [message("user", text)],
    more,
  });
  streams = [[part("old", true)], [part("older", true), part("new", false)], []];
  const client = new TurntreeClient(address);
  const items = await new TurntreeSession("s", { client }).getItems();
  assert.deepEqual(
    items.map((item) => "content" in item && item.content),
    ["new"],
  );
  client.close();
});

test("a session that is cleared while it is read is at main", async () => {
  const old = { branchId: "old", generation: 1n };
  const cursor = Uint8Array.of(1);
  streams = [
    [{ kind: DeltaKind.REPLACED, branch: old, cursor, items: [message("user", "old")], more: true }],
    [{ kind: DeltaKind.REPLACED, branch: { branchId: "main", generation: 2n }, cursor }],
    [],
  ];
  const client = new TurntreeClient(address);
  const session = new TurntreeSession("s", { client });
  assert.deepEqual([await session.getItems(), session.currentBranchId], [[], "main"]);
  const { branch, cursor: from } = streamItemsRequest ?? {};
  assert.deepEqual([branch?.branchId, branch?.generation, from], [old.branchId, old.generation, cursor]);
  client.close();
});

test("a session reads any number of items that come at once", async () => {
  const items = Array.from({ length: 200_000 }, () => Buffer.from("{}"));
  streams = [[{ kind: DeltaKind.REPLACED, cursor: Uint8Array.of(1), items }], []];
  const client = new TurntreeClient(address);
  assert.equal((await new TurntreeSession("s", { client }).getItems()).length, 200_000);
  client.close();
});

test("a session makes one change at a time", async () => {
  const client = new TurntreeClient(address);
  const session = new TurntreeSession("s", { client });
  await Promise.all(["one", "two", "three"].map((content) => session.addItems([{ role: "user", content }])));
  assert.deepEqual(atWork, [1, 0, 1, 0, 1, 0]);
  client.close();
});
