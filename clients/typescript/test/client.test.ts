import assert from "node:assert/strict";
import { describe, test } from "node:test";
import {
  decodeItem,
  DeltaKind,
  encodeItem,
  ErrorReason,
  itemMetadataRows,
  pages,
  SessionService,
  toolUsageRows,
  TurnService,
  turnRows,
  TurntreeClient,
  TurntreeError,
  UsageGrouping,
  UsageService,
  BranchService,
} from "turntree";
import { collect, contents, message, next } from "./support/collect.js";
import { Server } from "./support/server.js";

const server = await Server.start();
const client = new TurntreeClient(server.address);

test("there is a method for every RPC", () => {
  const names = [SessionService, BranchService, TurnService, UsageService].flatMap((service) =>
    Object.keys(service.method),
  );
  assert.equal(names.length, 25);
  for (const name of names) assert.equal(typeof client[name as keyof TurntreeClient], "function", name);
});

test("a text that is no Unicode is refused, and not sent as another one", async () => {
  const half = "\ud83c";
  const item = message("user", "hello");
  const refused = (field: string) => ({ reason: ErrorReason.FIELD_INVALID, facts: factsOf(field) });
  const factsOf = (field: string) => ({ field, value: "\\ud83c", limit: "valid Unicode, without lone surrogates" });
  await assert.rejects(client.addItems({ sessionId: half, items: [item] }), refused("session_id"));
  await assert.rejects(client.updateSession({ sessionId: "s", labels: { [half]: "" } }), refused("labels key"));
  await assert.rejects(client.updateSession({ sessionId: "s", removeLabels: [half] }), refused("remove_labels[0]"));
  const origin = { case: "content", value: half } as const;
  await assert.rejects(client.createBranch({ sessionId: "s", origin }), refused("content"));
  const session = client.session("s");
  await assert.rejects(session.addItems({ items: [item], requestId: half }), refused("request_id"));
  const branch = { branchId: half };
  await assert.rejects(session.getItems({ branch }), refused("branch.branch_id"));
  for (const stream of [session.streamItems({ branch }), session.streamTurns({ branch }), session.watch({ branch })]) {
    await assert.rejects(stream.next(), refused("branch.branch_id"));
  }
  await client.addItems({ sessionId: "whole \u{1F333}", items: [item] });
});

test("what is not of the kind that is asked for is refused by its name", async () => {
  const refused = (field: string, value: string) => (error: unknown) => {
    assert(error instanceof TurntreeError, String(error));
    assert.deepEqual([error.reason, error.facts.field, error.facts.value], [ErrorReason.FIELD_INVALID, field, value]);
    assert.ok(error.facts.limit);
    assert(!error.message.includes("secret"), "an error tells no item");
    return true;
  };
  const item = { role: "user", content: "secret" };
  const natives = [{ index: 0n, dialect: "d", native: item }];
  const session = client.session("kinds");
  for (const [field, value, call] of [
    ["items[1]", "object", () => session.addItems({ items: [message("user", "one"), item] } as never)],
    ["items[0]", "string", () => session.addItems({ items: [JSON.stringify(item)] } as never)],
    ["items[0]", "undefined", () => session.addItems({ items: [undefined] } as never)],
    ["natives[0].native", "object", () => session.addItems({ items: [message("user", "one")], natives } as never)],
    ["cursor", "string", () => session.getItems({ cursor: "secret" } as never)],
    ["cursor", "string", () => next(session.watch({ cursor: "secret" } as never))],
    ["request", "undefined", () => client.listSessions(undefined as never)],
    ["request", "null", () => client.addItems(null as never)],
    ["timeoutMs", "500", () => session.getItems({}, { timeoutMs: "500" } as never)],
  ] as const) {
    await assert.rejects(call(), refused(field, value));
  }
  assert.equal((await session.getItems()).delta?.items.length, 0);
  assert.throws(() => new TurntreeClient(undefined as never), refused("address", "undefined"));
  assert.throws(() => new TurntreeClient(50_051 as never), refused("address", "number"));
});

test("a session pops no item that its caller does not get, also from one who gives no request", async () => {
  const session = client.session("no request");
  await session.addItems({ items: [message("user", "one")] });
  const { item } = await session.popItem(undefined as never);
  assert.deepEqual(contents(item && [item]), ["one"]);
});

test("any number of calls and streams may share a signal", async () => {
  const warnings: string[] = [];
  const warned = ({ message }: Error) => warnings.push(message);
  process.on("warning", warned);
  const { signal } = new AbortController();
  const calls = Array.from({ length: 20 }, () => client.getItems({ sessionId: "signal" }, { signal }));
  const watches = Array.from({ length: 20 }, () => client.watch({ sessionId: "signal" }, { signal }));
  await Promise.all([...calls, ...watches.map((watch) => watch.next())]);
  await Promise.all(watches.map((watch) => watch.return(undefined)));
  process.off("warning", warned);
  assert.deepEqual(warnings, []);
});

describe("items", () => {
  test("come back byte for byte: large integers, any text, and how they are written", async () => {
    const texts = [
      '{"n":9007199254740993,"big":123456789012345678901234567890}',
      ' {"a" : "\\u00e9é\u{1F333}\\ud83c"} ',
      "1.0",
    ];
    const items = texts.map((text) => new TextEncoder().encode(text));
    await client.addItems({ sessionId: "bytes é\u{1F333}", items });
    const { delta } = await client.getItems({ sessionId: "bytes é\u{1F333}" });
    assert.deepEqual(
      delta?.items.map((item) => new TextDecoder().decode(item)),
      texts,
    );
  });

  test("of five megabytes are read in parts and as a stream", async () => {
    const sessionId = "five megabytes";
    const sent = Array.from({ length: 50 }, (_, number) => message("user", `${number} ${"ä".repeat(50_000)}`));
    await client.addItems({ sessionId, items: sent });
    const streamed = await collect(client.streamItems({ sessionId }));
    assert(streamed.length > 1);
    assert.deepEqual(contents(streamed.flatMap(({ delta }) => delta?.items ?? [])), contents(sent));
    const turns = await collect(client.streamTurns({ sessionId }));
    assert.deepEqual(contents(turns.flatMap(({ turns }) => turns.flatMap(({ items }) => items))), contents(sent));
  });

  test("are numbered beyond 2^53 without loss", async () => {
    await client.addItems({ sessionId: "numbers", items: [message("user", "Hello")] });
    const tokens = 2n ** 60n + 1n;
    await client.recordUsage({ sessionId: "numbers", usage: { requests: 1n, totalTokens: tokens } });
    assert.equal((await client.getSessionUsage({ sessionId: "numbers" })).total?.totalTokens, tokens);
  });

  test("are read conditionally by cursor", async () => {
    const sessionId = "conditional";
    const { cursor } = await client.addItems({ sessionId, items: [message("user", "one")] });
    assert.equal((await client.getItems({ sessionId, cursor })).delta?.kind, DeltaKind.UNCHANGED);
    await client.addItems({ sessionId, items: [message("assistant", "two")] });
    const { delta } = await client.getItems({ sessionId, cursor });
    assert.deepEqual([delta?.kind, contents(delta?.items)], [DeltaKind.APPENDED, ["two"]]);
  });

  test("of JavaScript are values that JSON has", () => {
    assert.deepEqual(decodeItem(encodeItem({ content: "ä" })), { content: "ä" });
    assert.throws(() => encodeItem(undefined), /undefined/);
  });
});

test("a list is read over all its pages", async () => {
  for (const name of ["a", "b", "c"]) {
    await client.updateSession({ sessionId: `page ${name}`, labels: { of: "pages" } });
  }
  const read = await collect(pages(client.listSessions, { labels: { of: "pages" }, pageSize: 2 }));
  assert.deepEqual(
    read.map((page) => page.sessions.length),
    [2, 1],
  );
  const ids = read.flatMap((page) => page.sessions.map((session) => session.sessionId));
  assert.deepEqual(ids.sort(), ["page a", "page b", "page c"]);
});

test("turns, their items and tools come as rows", async () => {
  const sessionId = "rows";
  await client.addItems({
    sessionId,
    items: [
      message("user", "What is the weather?"),
      encodeItem({ type: "function_call", call_id: "1", name: "get_weather", arguments: "{}" }),
      encodeItem({ type: "function_call_output", call_id: "1", output: "sunny" }),
      message("assistant", "Sunny."),
    ],
  });
  const [turn] = turnRows((await client.listTurns({ sessionId })).turns);
  assert.deepEqual(
    [turn?.turn, turn?.branchId, contents([turn?.userItem ?? new Uint8Array()])],
    [1n, "main", ["What is the weather?"]],
  );
  assert(Math.abs(Number(turn?.createTime) - Date.now()) < 3_600_000);
  const items = itemMetadataRows((await client.getConversationByTurns({ sessionId })).items);
  assert.deepEqual(
    items.map(({ type, toolName, turn }) => [type, toolName, turn]),
    [
      ["user", undefined, 1n],
      ["function_call", "get_weather", 1n],
      ["function_call_output", undefined, 1n],
      ["assistant", undefined, 1n],
    ],
  );
  const tools = toolUsageRows((await client.listToolUsage({ sessionId })).tools);
  assert.deepEqual(tools, [{ toolName: "get_weather", callCount: 1n, turn: 1n }]);
});

describe("a session handle", () => {
  test("creates branches and stands on them, and other handles do not", async () => {
    const [handle, other] = [client.session("handle"), client.session("handle")];
    await handle.addItems({ items: [message("user", "one"), message("assistant", "two"), message("user", "three")] });
    await handle.createBranch({ origin: { case: "turn", value: 2n }, newBranchId: "b" });
    await handle.addItems({ items: [message("user", "another three")] });
    assert.equal(handle.branch.branchId, "b");
    assert.deepEqual(contents((await handle.getItems()).delta?.items), ["one", "two", "another three"]);
    assert.deepEqual(contents((await other.getItems()).delta?.items), ["one", "two", "three"]);
    assert.equal((await handle.getItems({ branch: { branchId: "main" } })).delta?.items.length, 3);
    assert.equal(handle.branch.branchId, "b", "a branch that is named for one call is not switched to");
    await other.switchTo("b");
    assert.equal((await collect(other.streamItems()))[0]?.delta?.branch?.branchId, "b");
    const branches = await collect(pages(other.listBranches, { pageSize: 1 }));
    assert.deepEqual(branches.flatMap((page) => page.branches.map((branch) => branch.branchId)).sort(), ["b", "main"]);
  });

  test("that names a branch for its first call stands at main", async () => {
    const handle = client.session("named");
    await handle.addItems({ items: [message("user", "one")] });
    await handle.createBranch({ origin: { case: "head", value: {} }, newBranchId: "b" });
    const other = client.session("named");
    await other.getItems({ branch: { branchId: "b" } });
    assert.equal(other.branch.branchId, "main");
    await other.delete();
    assert.equal((await handle.getItems()).delta?.items.length, 0);
  });

  test("is at main when somebody else cleared the session", async () => {
    const [handle, other] = [client.session("cleared"), client.session("cleared")];
    await handle.addItems({ items: [message("user", "one")] });
    await handle.createBranch({ origin: { case: "head", value: {} }, newBranchId: "b" });
    await other.clear();
    await handle.addItems({ items: [message("user", "anew")] });
    assert.equal(handle.branch.branchId, "main");
    assert.deepEqual(contents((await other.getItems()).delta?.items), ["anew"]);
  });
});

describe("an error", () => {
  test("has the code, the reason and the facts", async () => {
    await assert.rejects(client.getBranch({ sessionId: "s", branchId: "nowhere" }), (error) => {
      assert(error instanceof TurntreeError && error instanceof Error);
      assert.equal(error.code, "NOT_FOUND");
      assert.equal(error.reason, ErrorReason.BRANCH_NOT_FOUND);
      assert.deepEqual(error.facts, { session_id: "s", branch_id: "nowhere" });
      assert.match(error.message, /nowhere/);
      return true;
    });
  });

  test("names the field and the limit of what the server does not take", async () => {
    await assert.rejects(client.listSessions({ pageSize: -1 }), {
      reason: ErrorReason.FIELD_INVALID,
      facts: { field: "page_size", value: "-1", limit: "0 to 1000" },
    });
  });

  test("says at once what cannot be sent", async () => {
    const lone = client.addItems({ sessionId: "s", items: ["text"] as unknown as Uint8Array[] });
    await assert.rejects(lone, { code: "INVALID_ARGUMENT", reason: ErrorReason.FIELD_INVALID });
    await assert.rejects(client.listSessions({ pageSize: 2 ** 40 }), { code: "INVALID_ARGUMENT" });
    await assert.rejects(client.getSession({ sessionId: "s" }, { timeoutMs: NaN }), { code: "INVALID_ARGUMENT" });
  });
});

test("usage is added up over sessions", async () => {
  for (const sessionId of ["team 1", "team 2"]) {
    await client.addItems({ sessionId, items: [message("user", "Hello")] });
    await client.updateSession({ sessionId, labels: { team: "red" } });
    await client.recordUsage({
      sessionId,
      usage: { requests: 1n, inputTokens: 3n, outputTokens: 4n, totalTokens: 7n },
    });
  }
  const { summaries } = await client.summarizeUsage({
    grouping: UsageGrouping.LABEL,
    labelKey: "team",
    labels: { team: "red" },
  });
  assert.deepEqual(
    summaries.map(({ group, total }) => [group, total?.totalTokens]),
    [["red", 14n]],
  );
});
