// The stream that carries the calls, on a server that breaks it in ways that no real one can be made to at will.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { anyPack, durationFromMs } from "@bufbuild/protobuf/wkt";
import { create } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { ErrorInfoSchema, RetryInfoSchema } from "#turntree/gen/google/rpc/error_details_pb.js";
import { PipelineCallSchema, type PipelineCall, PipelineReplySchema } from "#turntree/gen/turntree/v1/pipeline_pb.js";
import { BranchService, ErrorReason, SessionService, TurnService, TurntreeClient, UsageService } from "turntree";
import { message } from "./support/collect.js";
import { answer, answers, PipelineServer } from "./support/pipeline-server.js";

const server = await PipelineServer.start();

const many = (client: TurntreeClient, count: number) =>
  Promise.all(Array.from({ length: count }, (_, number) => client.clearSession({ sessionId: `${number}` })));

const requestIds = (calls: PipelineCall[]) =>
  calls.map(({ request }) => (request.case === "clearSession" ? request.value.requestId : "")).sort();

function info(reason: ErrorReason) {
  const value = { reason: `ERROR_REASON_${ErrorReason[reason]}`, domain: "turntree", metadata: { limit: "1" } };
  return create(ErrorInfoSchema, value);
}

function refusal(code: Code, reason: ErrorReason): ConnectError {
  return new ConnectError("refused", code, undefined, [{ desc: ErrorInfoSchema, value: info(reason) }]);
}

test("every unary call is carried, and its reply", () => {
  for (const service of [SessionService, BranchService, TurnService, UsageService]) {
    for (const method of service.methods.filter(({ methodKind }) => methodKind === "unary")) {
      for (const [schema, end] of [
        [PipelineCallSchema, method.input],
        [PipelineReplySchema, method.output],
      ] as const) {
        const field = schema.fields.find((candidate) => candidate.message?.typeName === end.typeName);
        assert.equal(field?.localName, method.localName);
      }
    }
  }
});

describe("calls", () => {
  test("that may take for ever are carried, and so are those that go by themselves", async () => {
    server.script();
    await using client = new TurntreeClient(server.address, { timeoutMs: Infinity });
    for (const text of ["small", "x".repeat(1024 * 1024)]) {
      await client.addItems({ sessionId: "s", items: [message("user", text)] });
    }
    assert.equal(server.unary, 1);
  });

  test("that are asked for together travel together, at most 64 of them, all on one stream", async () => {
    server.script();
    await using client = new TurntreeClient(server.address);
    await many(client, 100);
    await many(client, 10);
    await many(client, 1);
    assert.equal(server.streams.length, 1);
    assert.deepEqual(
      server.streams[0]?.messages.map((calls) => calls.length),
      [64, 36, 10, 1],
    );
  });

  test("are answered in any order", async () => {
    const late: PipelineCall[] = [];
    server.script(async function* (calls) {
      yield await Promise.resolve({ replies: calls.slice(1).map(answer) });
      late.push(...calls.slice(0, 1));
      if (late.length === 2) yield { replies: late.map(answer) };
    });
    await using client = new TurntreeClient(server.address);
    const first = client.getSession({ sessionId: "first" });
    await client.getSession({ sessionId: "second" });
    const third = client.listSessions({});
    assert.deepEqual([(await third).sessions, (await first).session], [[], undefined]);
  });

  test("that are too large to hold up others go by themselves", async () => {
    server.script();
    await using client = new TurntreeClient(server.address);
    await client.addItems({ sessionId: "s", items: [message("user", "x".repeat(1024 * 1024))] });
    await client.addItems({ sessionId: "s", items: [message("user", "small")] });
    assert.deepEqual([server.unary, server.streams.length], [1, 1]);
  });

  test("are refused with the reason and the facts of their own", async () => {
    server.script(async function* (calls) {
      const details = [anyPack(ErrorInfoSchema, info(ErrorReason.SESSION_NOT_FOUND))];
      const replies = calls.map((call) =>
        call.request.case === "getSession"
          ? {
              callId: call.callId,
              response: { case: "error" as const, value: { code: Code.NotFound, message: "absent", details } },
            }
          : answer(call),
      );
      yield await Promise.resolve({ replies });
    });
    await using client = new TurntreeClient(server.address);
    const [refused] = await Promise.allSettled([client.getSession({ sessionId: "s" }), client.listSessions({})]);
    const { code, reason, facts, message } = (refused as PromiseRejectedResult).reason as Record<string, unknown>;
    const expected = ["NOT_FOUND", ErrorReason.SESSION_NOT_FOUND, { limit: "1" }, "absent"];
    assert.deepEqual([code, reason, facts, message], expected);
  });

  test("that are refused for load are tried again after the time that the server asks for", async () => {
    let count = 0;
    server.script(async function* (calls) {
      const retry = create(RetryInfoSchema, { retryDelay: durationFromMs(200) });
      const details = [anyPack(ErrorInfoSchema, info(ErrorReason.RATE_EXCEEDED)), anyPack(RetryInfoSchema, retry)];
      const error = { case: "error" as const, value: { code: Code.ResourceExhausted, message: "", details } };
      const isFirst = ++count === 1;
      const replies = calls.map((call) => (isFirst ? { callId: call.callId, response: error } : answer(call)));
      yield await Promise.resolve({ replies });
    });
    await using client = new TurntreeClient(server.address);
    const began = performance.now();
    await many(client, 1);
    assert(performance.now() - began >= 199);
    const [first = [], second = []] = server.streams[0]?.messages ?? [];
    assert.deepEqual(requestIds(second), requestIds(first));
  });
});

describe("a stream that breaks", () => {
  test("repeats what has no answer on one other, with the same request ids, and takes no retries for it", async () => {
    server.script(async function* (calls, stream) {
      if (server.streams[0] === stream) {
        yield { replies: calls.slice(0, 4).map(answer) };
        await sleep(20);
        throw new ConnectError("broken", Code.Unavailable);
      }
      yield* answers(calls);
    });
    await using client = new TurntreeClient(server.address);
    await many(client, 160);
    const [first = [], second = []] = server.streams.map(({ messages }) => requestIds(messages.flat()));
    const repeated = new Set(second);
    assert.deepEqual([server.streams.length, second.length, repeated.size], [2, 156, 156]);
    assert.equal(first.filter((requestId) => !repeated.has(requestId)).length, 4);
  });

  test("is opened again for all callers at once, and not more often for more of them", async () => {
    // eslint-disable-next-line require-yield
    server.script(async function* () {
      await sleep(1);
      throw refusal(Code.Unavailable, ErrorReason.SERVER_STOPPING);
    });
    await using client = new TurntreeClient(server.address, { retryMs: 600 });
    const calls = Array.from({ length: 200 }, () => client.getSession({ sessionId: "s" }));
    for (const call of await Promise.allSettled(calls)) {
      assert(call.status === "rejected");
      assert.equal((call.reason as { reason: ErrorReason }).reason, ErrorReason.SERVER_STOPPING);
    }
    assert(server.streams.length >= 2 && server.streams.length <= 7, `${server.streams.length} streams`);
  });
});

describe("a caller", () => {
  test("whose stream broke when another try has no time is told why, and not that its own time is up", async () => {
    // eslint-disable-next-line require-yield
    server.script(async function* (_, stream) {
      if (server.streams[0] !== stream) await sleep(60_000, undefined, { ref: false });
      const retry = { desc: RetryInfoSchema, value: { retryDelay: durationFromMs(900) } };
      const cause = { desc: ErrorInfoSchema, value: info(ErrorReason.STORE_FAILED) };
      throw new ConnectError("refused", Code.Unavailable, undefined, [cause, retry]);
    });
    await using client = new TurntreeClient(server.address);
    const call = client.getSession({ sessionId: "s" }, { timeoutMs: 1_000 });
    await assert.rejects(call, { code: "UNAVAILABLE", reason: ErrorReason.STORE_FAILED });
    assert.equal(server.streams.length, 1);
  });

  test("without an answer has its deadline, and the late answer is nobody's", async () => {
    const late: PipelineCall[] = [];
    server.script(async function* (calls) {
      if (calls[0]?.request.case === "getSession") late.push(...calls);
      else yield await Promise.resolve({ replies: [...late, ...calls].map(answer) });
    });
    await using client = new TurntreeClient(server.address);
    await many(client, 1);
    const call = client.getSession({ sessionId: "s" }, { timeoutMs: 150 });
    await assert.rejects(call, { code: "DEADLINE_EXCEEDED", reason: ErrorReason.DEADLINE_EXCEEDED });
    await many(client, 1);
    const { seconds, nanos } = late[0]?.timeout ?? { seconds: -1n, nanos: 0 };
    assert(seconds === 0n && nanos > 0 && nanos <= 150e6, `${seconds} s, ${nanos} ns`);
    assert.equal(server.streams.length, 1);
  });

  test("that leaves before its call was sent has it not sent, and others have their answers", async () => {
    server.script();
    await using client = new TurntreeClient(server.address);
    await many(client, 1);
    const leaving = new AbortController();
    const reason = new Error("enough");
    const call = client.getSession({ sessionId: "left" }, { signal: leaving.signal });
    const other = client.getSession({ sessionId: "other" });
    leaving.abort(reason);
    await assert.rejects(call, reason);
    await other;
    const sessions = server.streams[0]?.messages.slice(1).map((calls) => calls.map(({ request }) => request.value));
    assert.equal(sessions?.length, 1);
    assert.deepEqual(
      sessions[0]?.map((request) => request && "sessionId" in request && request.sessionId),
      ["other"],
    );
  });

  test("that leaves while it waits for the answer is told its own reason at once", async () => {
    // eslint-disable-next-line require-yield
    server.script(async function* () {
      await sleep(60_000, undefined, { ref: false });
    });
    await using client = new TurntreeClient(server.address);
    const leaving = new AbortController();
    const reason = new Error("enough");
    const call = client.getSession({ sessionId: "s" }, { signal: leaving.signal });
    const other = client.getSession({ sessionId: "s" });
    while (server.streams[0]?.messages.length !== 1) await sleep(5);
    leaving.abort(reason);
    await assert.rejects(call, reason);
    client.close();
    await assert.rejects(other, { reason: ErrorReason.SERVER_STOPPING });
  });
});

describe("a credential", () => {
  const expire = (valid: (token: string | null) => boolean) =>
    server.script(async function* (calls, { token }) {
      if (!valid(token)) throw refusal(Code.Unauthenticated, ErrorReason.CREDENTIAL_INVALID);
      yield* answers(calls);
    });

  test("that expired is renewed on another stream, for all calls that had no answer", async () => {
    expire((token) => token === "Bearer t2");
    let count = 0;
    await using client = new TurntreeClient(server.address, { token: () => `t${++count}`, retryMs: 0 });
    await many(client, 150);
    assert.deepEqual(
      server.streams.map(({ token }) => token),
      ["Bearer t1", "Bearer t2"],
    );
  });

  test("that is refused is renewed once for a call, and one that is always the same never", async () => {
    expire(() => false);
    for (const [token, streams] of [
      [() => "new", 2],
      ["old", 1],
    ] as const) {
      server.streams = [];
      await using client = new TurntreeClient(server.address, { token });
      const refused = { code: "UNAUTHENTICATED", reason: ErrorReason.CREDENTIAL_INVALID, facts: { limit: "1" } };
      await assert.rejects(client.getSession({ sessionId: "s" }), refused);
      assert.equal(server.streams.length, streams);
    }
  });
});

describe("a process", () => {
  const run = (script: string) =>
    promisify(execFile)(
      process.execPath,
      [
        "--input-type=module",
        "--eval",
        `import { TurntreeClient } from "turntree";
         const client = new TurntreeClient("${server.address}");
         await client.getSession({ sessionId: "s" });
         ${script}`,
      ],
      { cwd: fileURLToPath(new URL("../../", import.meta.url)), timeout: 20_000 },
    );

  test("ends when nothing is at work, also with a client that was not closed", async () => {
    server.script();
    await run("");
  });

  test("goes on while a call has no answer, and while it watches", async () => {
    server.script(async function* (calls) {
      await sleep(calls[0]?.request.case === "listSessions" ? 500 : 0);
      yield* answers(calls);
    });
    const script = `
      await client.listSessions({});
      console.log("answered");
      for await (const change of client.watch({ sessionId: "s" })) {
        console.log("changed");
        break;
      }`;
    assert.equal((await run(script)).stdout, "answered\nchanged\n");
  });
});
