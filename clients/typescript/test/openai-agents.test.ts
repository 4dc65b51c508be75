// `TurntreeSession` with the real runner of the OpenAI Agents SDK.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import {
  Agent,
  type AgentInputItem,
  isRunContextAwareSession,
  isSessionHistoryRewriteAwareSession,
  isSessionHistoryTransactionAwareSession,
  MemorySession,
  OutputGuardrailTripwireTriggered,
  run,
  RunState,
  setTracingDisabled,
  tool,
  Usage,
} from "@openai/agents";
import { decodeItem, ErrorReason, TurntreeClient, TurntreeError } from "turntree";
import { TurntreeSession } from "turntree/openai-agents";
import { z } from "zod";
import { collect, next } from "./support/collect.js";
import { calls, says, ScriptedModel } from "./support/model.js";
import { Proxy } from "./support/proxy.js";
import { Server } from "./support/server.js";

setTracingDisabled(true);
const server = await Server.start();
const client = new TurntreeClient(server.address);

const getWeather = tool({
  name: "get_weather",
  description: "The weather in a city.",
  parameters: z.object({ city: z.string() }),
  execute: ({ city }) => `sunny in ${city}`,
});

const bookHotel = tool({
  name: "book_hotel",
  description: "Book a hotel.",
  parameters: z.object({ name: z.string() }),
  needsApproval: true,
  execute: ({ name }) => `booked ${name}`,
});

function agent(...outputs: ConstructorParameters<typeof ScriptedModel>): Agent & { script: ScriptedModel } {
  const script = new ScriptedModel(...outputs);
  return Object.assign(new Agent({ name: "Concierge", model: script, tools: [getWeather, bookHotel] }), { script });
}

function open(name: string): TurntreeSession {
  return new TurntreeSession(name, { client });
}

type FunctionCall = Extract<AgentInputItem, { type: "function_call" }>;

const weather = () => [[calls("get_weather", "call 1", { city: "Lisbon" })], [says("Sunny.")]];

function user(content: string): AgentInputItem {
  return { type: "message", role: "user", content };
}

function assistant(text: string): AgentInputItem {
  return { type: "message", role: "assistant", status: "completed", content: [{ type: "output_text", text }] };
}

/** What an item says, in a word or two. */
function gist(item: AgentInputItem): string {
  const { type, callId, content } = item as { type?: string; callId?: string; content?: string | { text: string }[] };
  if (typeof content === "string") return content;
  return content?.[0]?.text ?? [type, callId].filter((word) => word !== undefined).join(" ");
}

async function gists(session: { getItems(): Promise<AgentInputItem[]> }): Promise<string[]> {
  return (await session.getItems()).map(gist);
}

describe("a run", () => {
  test("leaves in the session what it leaves in the SDK's own", async () => {
    const [session, memory] = [open("run"), new MemorySession()];
    for (const one of [session, memory]) {
      const concierge = agent(...weather(), [says("Bring a hat.")]);
      await run(concierge, "How is the weather?", { session: one });
      const result = await run(concierge, "What shall I bring?", { session: one });
      assert.equal(result.finalOutput, "Bring a hat.");
      const [, , third] = concierge.script.requests;
      assert.equal((third?.input as AgentInputItem[]).length, 5, "the model sees the history");
    }
    assert.deepEqual(await session.getItems(), JSON.parse(JSON.stringify(await memory.getItems())));
    assert.deepEqual(await open("run").getItems(), await session.getItems());
  });

  test("that streams is kept too", async () => {
    const session = open("streamed");
    const result = await run(agent(...weather()), "How is the weather?", { session, stream: true });
    await result.completed;
    assert.deepEqual(await gists(session), [
      "How is the weather?",
      "function_call call 1",
      "function_call_result call 1",
      "Sunny.",
    ]);
  });

  test("goes on after an approval, also in another process", async () => {
    const concierge = agent([calls("book_hotel", "call 2", { name: "Tejo" })], [says("Booked.")]);
    const first = await run(concierge, "Book it.", { session: open("approval") });
    const [interruption] = first.interruptions;
    assert(interruption);
    const state = await RunState.fromString(concierge, first.state.toString());
    const [waiting] = state.getInterruptions();
    assert(waiting);
    state.approve(waiting);
    const result = await run(concierge, state, { session: open("approval") });
    assert.equal(result.finalOutput, "Booked.");
    assert.deepEqual(await gists(open("approval")), [
      "Book it.",
      "function_call call 2",
      "function_call_result call 2",
      "Booked.",
    ]);
  });

  test("whose model compacts replaces the history in one step", async () => {
    const session = open("compaction");
    const concierge = agent([says("One.")], [{ type: "compaction", encrypted_content: "all of it" }, says("Two.")]);
    await run(concierge, "one", { session });
    await run(concierge, "two", { session });
    assert.deepEqual(await gists(session), ["compaction", "Two."]);
  });

  test("whose output is refused leaves what was done, and not what was refused", async () => {
    const outcome: string[][] = [];
    for (const session of [open("blocked"), new MemorySession()]) {
      const guarded = agent(...weather());
      guarded.outputGuardrails = [
        { name: "no weather", execute: () => Promise.resolve({ outputInfo: {}, tripwireTriggered: true }) },
      ];
      await assert.rejects(run(guarded, "How is the weather?", { session }), OutputGuardrailTripwireTriggered);
      outcome.push(await gists(session));
    }
    assert.deepEqual(outcome[0], outcome[1]);
    assert((outcome[0]?.length ?? 0) > 1);
  });

  test("leaves its usage with its turn", async () => {
    const session = open("usage");
    const concierge = agent(...weather(), [says("Bring a hat.")]);
    await session.storeRunUsage(await run(concierge, "How is the weather?", { session }));
    const second = await run(concierge, "What shall I bring?", { session });
    await session.storeRunUsage(second);
    await session.storeRunUsage(second, { add: true });
    const total = { requests: 4, inputTokens: 40, outputTokens: 20, totalTokens: 60, totalTurns: 2 };
    assert.deepEqual(await session.getSessionUsage(), total);
    const turns = await session.getTurnUsage();
    assert.deepEqual(
      turns.map(({ turn, requests, totalTokens }) => [turn, requests, totalTokens]),
      [
        [1, 2, 30],
        [2, 2, 30],
      ],
    );
    assert.deepEqual(turns[0]?.inputTokensDetails, { cached_tokens: 8 });
    assert.deepEqual(turns[0].outputTokensDetails, { reasoning_tokens: 4 });
    assert.deepEqual(await session.getTurnUsage(2), [turns[1]]);
    assert.equal(await open("nothing").getSessionUsage(), undefined);
    assert.deepEqual(await session.getToolUsage(), [{ toolName: "get_weather", callCount: 1, turn: 1 }]);
  });

  test("leaves of the details of its usage the counts, and what is none away", async () => {
    const session = open("details");
    await session.addItems([user("one")]);
    const counts = { requests: 2, inputTokens: 3, outputTokens: 1, totalTokens: 4 };
    const inputTokensDetails = [{ cached_tokens: 2 }, { cached_tokens: undefined, audio: null, by: {}, text: 1 }];
    const usage = { ...counts, inputTokensDetails, outputTokensDetails: [{ reasoning_tokens: undefined }] };
    await session.storeRunUsage({ runContext: { usage: usage as unknown as Usage } });
    const [turn] = await session.getTurnUsage();
    assert.deepEqual([turn?.inputTokensDetails, turn?.outputTokensDetails], [{ cached_tokens: 2, text: 1 }, undefined]);
  });
});

describe("the history", () => {
  test("is stored in the Responses form, whatever the SDK's own is", async () => {
    await run(agent(...weather()), "How is the weather?", { session: open("form") });
    const { delta } = await client.getItems({ sessionId: "form" });
    const stored = (delta?.items ?? []).map(decodeItem) as Record<string, unknown>[];
    const isCall = stored.map(({ type, call_id }) => [type, call_id]);
    assert.deepEqual(isCall.slice(1, 3), [
      ["function_call", "call 1"],
      ["function_call_output", "call 1"],
    ]);
    assert.equal(stored[0]?.role, "user");
    assert.equal(delta?.natives.length, 0, "the natives are for who asks for them");
  });

  test("is read by its newest items, popped and cleared", async () => {
    const session = open("newest");
    await session.addItems([]);
    await session.addItems([user("one"), assistant("two"), user("three")]);
    assert.deepEqual((await session.getItems(2)).map(gist), ["two", "three"]);
    assert.deepEqual([await session.getItems(0), await session.getItems(-1)], [[], []]);
    assert.deepEqual(await session.popItem(), user("three"));
    assert.deepEqual(await gists(session), ["one", "two"]);
    await session.clearSession();
    assert.equal(await session.popItem(), undefined);
    assert.equal(await session.getSessionId(), "newest");
  });

  test("is read by any number that the SDK's own session takes", async () => {
    const [session, memory] = [open("limits"), new MemorySession()];
    for (const one of [session, memory]) await one.addItems([user("one"), user("two"), user("three")]);
    for (const limit of [1.5, 2.5, NaN, Infinity, -Infinity, -0.5, Number.MAX_VALUE]) {
      assert.deepEqual(await session.getItems(limit), await memory.getItems(limit), String(limit));
    }
  });

  test("is what was given when a change was asked for, whatever becomes of it afterwards", async () => {
    const session = open("snapshot");
    const items = [user("one")];
    const added = session.addItems(items);
    items.push(user("two"));
    const addedAgain = session.addItems(items);
    items.length = 0;
    await Promise.all([added, addedAgain]);
    assert.deepEqual(await gists(session), ["one", "one", "two"]);
  });

  test("is changed as was asked for, whatever becomes of what was given afterwards", async () => {
    const session = open("changes");
    const call = (parameters: object) => calls("get_weather", "call 4", parameters) as FunctionCall;
    const added = session.addItems([user("one"), call({ city: "Lisbon" }), assistant("draft")]);

    const replacement = call({ city: "Porto" });
    const mutations = [{ type: "replace_function_call" as const, callId: "call 4", replacement }];
    const rewritten = session.applyHistoryMutations({ mutations });
    replacement.arguments = "{}";
    mutations.length = 0;
    const suffix = { expectedSuffix: [assistant("draft")], replacement: [assistant("final")] };
    const transaction = { type: "replace_suffix" as const, ...suffix };
    const swapped = session.applyHistoryTransaction({ operationId: "changes", transaction });
    suffix.expectedSuffix.length = 0;
    suffix.replacement.push(user("two"));
    const read = Promise.all([added, rewritten, swapped]).then(() => session.getItems());
    const compacted: AgentInputItem[] = [{ type: "compaction", encrypted_content: "all of it" }];
    const replaced = read.then(() => session.replaceHistoryWithCompaction(compacted));
    assert.deepEqual(await read, [user("one"), call({ city: "Porto" }), assistant("final")]);
    await replaced;

    const waiting = session.addItems([user("three")]);
    const again = session.replaceHistoryWithCompaction(compacted);
    compacted.length = 0;
    await Promise.all([waiting, again]);
    assert.deepEqual(await gists(session), ["compaction"]);
  });

  test("of calls that are made at once is in their order", async () => {
    const session = open("order");
    await Promise.all(Array.from({ length: 20 }, (_, number) => session.addItems([user(String(number))])));
    assert.deepEqual(
      await gists(session),
      Array.from({ length: 20 }, (_, number) => String(number)),
    );
  });

  test("is read with the changes that the same object was asked for before", async () => {
    const session = open("read after");
    const added = session.addItems([user("one")]);
    assert.deepEqual(await gists(session), ["one"]);
    await added;
  });

  test("is read by branches and turns, and with whole exchanges", async () => {
    const session = open("windows");
    await run(agent(...weather()), "How is the weather?", { session });
    await session.createBranchFromHead("other");
    await session.addItems([user("two"), assistant("Two.")]);
    assert.deepEqual((await session.readItems({ limitTurns: 1 })).map(gist), ["two", "Two."]);
    assert.equal((await session.readItems({ branchId: "main" })).length, 4);
    assert.deepEqual((await session.readItems({ branchId: "main", limit: 2, wholeExchanges: true })).map(gist), [
      "Sunny.",
    ]);
    await session.deleteSession();
    assert.deepEqual([await session.getItems(), session.currentBranchId], [[], "main"]);
  });

  test("of five megabytes is read whole, by its newest items and by branch, with what only this SDK has", async () => {
    const session = open("large");
    const items = Array.from({ length: 50 }, (_, number) => ({
      ...user(`${number} ${"ä".repeat(50_000)}`),
      ...(number % 7 === 0 && { providerData: { number } }),
    }));
    await session.addItems(items);
    assert.deepEqual(await session.getItems(), items);
    assert.deepEqual(await session.getItems(40), items.slice(-40));
    await session.createBranchFromTurn(31, "other");
    assert.deepEqual(await session.getItems(), items.slice(0, 30));
    assert.deepEqual(await session.readItems({ branchId: "main", limitTurns: 25 }), items.slice(-25));
  });

  test("is rewritten where the SDK asks for it", async () => {
    const session = open("rewrite");
    await session.addItems([user("zero")]);
    await session.storeRunUsage(await run(agent([says("Zero.")]), "zero"));
    const call = (parameters: object): AgentInputItem => calls("get_weather", "call 3", parameters);
    await session.addItems([user("one"), call({ city: "Lisbon" }), assistant("two")]);
    const replacement = call({ city: "Porto" }) as FunctionCall;
    await session.applyHistoryMutations({
      mutations: [{ type: "replace_function_call", callId: "call 3", replacement }],
    });
    assert.deepEqual(await session.getItems(), [user("zero"), user("one"), replacement, assistant("two")]);
    await session.applyHistoryMutations({ mutations: [] });
    assert.equal((await session.getItems()).length, 4);
    assert.equal((await session.getTurnUsage(1)).length, 1, "what stands before stays as it is");
  });

  test("is rewritten nowhere else: what stands there stays byte for byte", async () => {
    const texts = [
      '{"type": "function_call", "call_id": "call 5", "name": "get_weather", "arguments": "{}", "n": 1.0}',
      '{"role": "user", "content": "caf\\u00e9", "n": 12345678901234567890}',
      '{"type": "function_call", "call_id": "call 5", "name": "get_weather", "arguments": "{}"}',
      '{"type": "function_call", "call_id": "call 6", "name": "get_weather", "arguments": "{}"}',
      '{"type": "function_call_output", "call_id": "call 6", "output": "sunny", "n": 1.0}',
    ];
    const session = open("bytes");
    await client.addItems({ sessionId: "bytes", items: texts.map((text) => new TextEncoder().encode(text)) });
    const odd = { ...user("odd"), providerData: { mood: "curious" } };
    await session.addItems([odd]);
    const mutations = ["call 5", "call 6"].map((callId) => {
      const replacement = calls("get_weather", callId, { city: "Porto" }) as FunctionCall;
      return { type: "replace_function_call" as const, callId, replacement };
    });
    await session.applyHistoryMutations({ mutations });
    const { delta } = await client.getItems({ sessionId: "bytes" });
    const stored = delta?.items.map((item) => new TextDecoder().decode(item)) ?? [];
    assert.deepEqual([stored.length, stored[1], stored[3]], [5, texts[1], texts[4]]);
    const items = await session.getItems();
    assert.deepEqual([items[0], items[2], items[4]], [mutations[0]?.replacement, mutations[1]?.replacement, odd]);
  });
});

describe("a transaction", () => {
  const append = (operationId: string, ...items: AgentInputItem[]) =>
    ({ operationId, transaction: { type: "append_items", items } }) as const;
  const swap = (operationId: string, expectedSuffix: AgentInputItem[], replacement: AgentInputItem[]) =>
    ({ operationId, transaction: { type: "replace_suffix", expectedSuffix, replacement } }) as const;

  test("is what the session says that it can", () => {
    const session = open("can");
    assert(isSessionHistoryTransactionAwareSession(session));
    assert(isSessionHistoryRewriteAwareSession(session));
    assert(isRunContextAwareSession(session));
  });

  test("that is done again appends once, also in another process and after other writes", async () => {
    const once = append("append", user("one"), assistant("two"));
    await open("append").applyHistoryTransaction(once);
    const other = open("append");
    await other.addItems([user("three")]);
    await other.applyHistoryTransaction(once);
    await open("append").applyHistoryTransaction(append("append", user("one"), assistant("two")));
    assert.deepEqual(await gists(other), ["one", "two", "three"]);
  });

  test("that is done again replaces once, also when the history ends otherwise by now", async () => {
    const session = open("swap");
    await session.addItems([user("one"), assistant("draft")]);
    const once = swap("swap", [assistant("draft")], [assistant("final")]);
    await session.applyHistoryTransaction(once);
    await session.applyHistoryTransaction(once);
    await session.addItems([assistant("draft")]);
    await open("swap").applyHistoryTransaction(once);
    assert.deepEqual(await gists(session), ["one", "final", "draft"]);
  });

  test("of an operation id that was used for another one is refused", async () => {
    const session = open("reused");
    await session.applyHistoryTransaction(append("reused", user("one")));
    const reused = { reason: ErrorReason.REQUEST_ID_REUSED };
    await assert.rejects(session.applyHistoryTransaction(append("reused", user("other"))), reused);
    await assert.rejects(session.applyHistoryTransaction(swap("reused", [user("one")], [])), reused);
    assert.deepEqual(await gists(session), ["one"]);
    await open("reused elsewhere").applyHistoryTransaction(append("reused", user("other")));
  });

  test("that has nothing to do changes nothing, as in the SDK's own session, and takes its operation id", async () => {
    for (const session of [open("nothing"), new MemorySession()]) {
      await session.addItems([user("one")]);
      for (const nothing of [append("append nothing"), swap("swap nothing", [], [])]) {
        await session.applyHistoryTransaction(nothing);
        await session.applyHistoryTransaction(nothing);
      }
      assert.deepEqual(await gists(session), ["one"]);
      await assert.rejects(session.applyHistoryTransaction(append("append nothing", user("two"))));
      assert.deepEqual(await gists(session), ["one"]);
    }
  });

  test("on a suffix that is not there is refused, and changes nothing", async () => {
    const session = open("mismatch");
    await session.addItems([user("one")]);
    const mismatch = { reason: ErrorReason.CURSOR_MISMATCH };
    await assert.rejects(session.applyHistoryTransaction(swap("m1", [user("two")], [user("x")])), mismatch);
    await assert.rejects(session.applyHistoryTransaction(swap("m2", [user("zero"), user("one")], [])), mismatch);
    assert.deepEqual(await gists(session), ["one"]);
    await assert.rejects(session.applyHistoryTransaction(append(" ", user("x"))), { code: "INVALID_ARGUMENT" });
  });

  test("may hold integers of any size, and bytes, and is done once too", async () => {
    const session = open("odd transaction");
    const odd = { ...user("one"), providerData: { big: 2n ** 70n, bytes: Uint8Array.of(1, 2) } };
    const transaction = { type: "append_items" as const, items: [odd] };
    await session.applyHistoryTransaction({ operationId: "odd", transaction });
    await session.applyHistoryTransaction({ operationId: "odd", transaction });
    const stored = { ...user("one"), providerData: { big: String(2n ** 70n), bytes: "AQI=" } };
    assert.deepEqual(await session.getItems(), [stored]);
  });
});

describe("what is no change of the history", () => {
  const items: unknown[] = [user("one")];
  const circle = { ...user("one"), providerData: {} };
  circle.providerData = circle;
  const cannot = { ...user("one"), toJSON: () => assert.fail("this item has no JSON") };
  const anItem = "an item: an object that JSON can hold";
  const anArray = "an array of items";
  const noItems = (field: string): [string, string, string, unknown][] => [
    [field, "undefined", anArray, undefined],
    [field, "null", anArray, null],
    [field, "string", anArray, "one"],
    [field, "object", anArray, { length: 0 }],
    [`${field}[1]`, "undefined", anItem, [...items, undefined]],
    [`${field}[1]`, "undefined", anItem, Object.assign([...items], { length: 2 })],
    [`${field}[1]`, "null", anItem, [...items, null]],
    [`${field}[1]`, "string", anItem, [...items, "two"]],
    [`${field}[1]`, "number", anItem, [...items, 2]],
    [`${field}[1]`, "array", anItem, [...items, []]],
    [`${field}[1]`, "object", anItem, [...items, circle]],
    [`${field}[1]`, "object", anItem, [...items, cannot]],
  ];

  async function refuses(change: () => Promise<void>, field: string, value: string, limit: string): Promise<void> {
    const error = await change().catch((reason: unknown) => reason);
    assert(error instanceof TurntreeError, `${field} ${value}: ${String(error)}`);
    assert.deepEqual([error.code, error.reason], ["INVALID_ARGUMENT", ErrorReason.FIELD_INVALID]);
    assert.deepEqual(error.facts, { field, value, limit });
    assert(!error.message.includes("one"), "an error tells no item");
  }

  test("is refused by its field, its kind and what it must be, and takes no operation id", async () => {
    const session = open("no transaction");
    await session.addItems([user("kept")]);
    const apply = (args: unknown) => session.applyHistoryTransaction(args as never);
    const id = { operationId: "no transaction" };
    for (const [field, value, limit, args] of [
      ["args", "undefined", "an object with an operationId and a transaction", undefined],
      ["args", "null", "an object with an operationId and a transaction", null],
      ["operationId", "undefined", "a text that is not blank", {}],
      ["operationId", "bigint", "a text that is not blank", { operationId: 1n }],
      ["operationId", '" "', "a text that is not blank", { operationId: " " }],
      ["transaction", "undefined", "an object", id],
      ["transaction", "null", "an object", { ...id, transaction: null }],
      ["transaction", "array", "an object", { ...id, transaction: [] }],
      ["transaction.type", "undefined", "append_items or replace_suffix", { ...id, transaction: { items } }],
      ["transaction.type", '"drop"', "append_items or replace_suffix", { ...id, transaction: { type: "drop", items } }],
    ] as const) {
      await refuses(() => apply(args), field, value, limit);
    }
    for (const [field, value, limit, given] of noItems("transaction.items")) {
      await refuses(() => apply({ ...id, transaction: { type: "append_items", items: given } }), field, value, limit);
    }
    const swap = { type: "replace_suffix", expectedSuffix: [user("kept")], replacement: items };
    for (const part of ["expectedSuffix", "replacement"]) {
      for (const [field, value, limit, given] of noItems(`transaction.${part}`)) {
        await refuses(() => apply({ ...id, transaction: { ...swap, [part]: given } }), field, value, limit);
      }
    }
    assert.deepEqual(await gists(session), ["kept"]);
    await apply({ ...id, transaction: swap });
    assert.deepEqual(await gists(session), ["one"]);
  });

  test("is refused in the other ways to change it too, and changes nothing", async () => {
    const session = open("no change");
    const kept = [user("kept"), calls("get_weather", "call 7", { city: "Lisbon" })];
    await session.addItems(kept);
    for (const [field, value, limit, given] of noItems("items")) {
      await refuses(() => session.addItems(given as never), field, value, limit);
      await refuses(() => session.replaceHistoryWithCompaction(given as never), field, value, limit);
    }
    const rewrite = (mutations: unknown) => session.applyHistoryMutations({ mutations } as never);
    const mutation = { type: "replace_function_call", callId: "call 7" };
    const able = { ...mutation, replacement: calls("get_weather", "call 7", { city: "Porto" }) };
    await refuses(
      () => session.applyHistoryMutations(undefined as never),
      "args",
      "undefined",
      "an object with mutations",
    );
    await refuses(() => rewrite(undefined), "mutations", "undefined", "an array of mutations");
    await refuses(() => rewrite([able, null]), "mutations[1]", "null", "an object");
    await refuses(() => rewrite([able, mutation]), "mutations[1].replacement", "undefined", anItem);
    const uncopied = { ...mutation, replacement: { ...able.replacement, providerData: { call: () => "one" } } };
    await refuses(() => rewrite([able, uncopied]), "mutations[1].replacement", "object", anItem);
    assert.deepEqual(await session.getItems(), kept);
  });
});

describe("branches", () => {
  test("are created, switched to, listed, compared and deleted", async () => {
    const session = open("branches");
    const concierge = agent([says("One.")], [says("Two.")], [says("Another two.")]);
    await run(concierge, "one", { session });
    await run(concierge, "two", { session });
    assert.equal(await session.createBranchFromTurn(2, "other"), "other");
    assert.deepEqual(await gists(session), ["one", "One."]);
    await run(concierge, "another two", { session });
    assert.deepEqual(await gists(session), ["one", "One.", "another two", "Another two."]);
    assert.deepEqual(await gists(open("branches")), ["one", "One.", "two", "Two."]);

    const branches = await session.listBranches();
    assert.deepEqual(
      branches.map((branch) => [branch.branchId, branch.messageCount, branch.userTurns, branch.isCurrent]).sort(),
      [
        ["main", 4, 2, false],
        ["other", 4, 2, true],
      ],
    );
    assert.equal((await session.compareBranches("main", "other")).commonItemCount, 2n);

    await assert.rejects(session.deleteBranch("other"), { reason: ErrorReason.FIELD_INVALID });
    await assert.rejects(session.deleteBranch("main"), { reason: ErrorReason.BRANCH_PROTECTED });
    await session.deleteBranch("other", { force: true });
    assert.equal(session.currentBranchId, "main");
    await assert.rejects(session.switchToBranch("other"), { reason: ErrorReason.BRANCH_NOT_FOUND });
    await assert.rejects(session.createBranchFromTurn(2, "other"), { reason: ErrorReason.BRANCH_ID_USED });
    await assert.rejects(session.createBranchFromTurn(9), { reason: ErrorReason.TURN_NOT_FOUND });
  });

  test("begin at the head, after a turn and before a text", async () => {
    const session = open("origins");
    await session.addItems([user("one"), assistant("One."), user("two")]);
    for (const [create, expected] of [
      [() => session.createBranchFromHead(), ["one", "One.", "two"]],
      [() => session.createBranchAfterTurn(1), ["one", "One."]],
      [() => session.createBranchFromContent("two"), ["one", "One."]],
    ] as const) {
      await create();
      assert.deepEqual(await gists(session), expected);
      await session.switchToBranch("main");
    }
    await assert.rejects(session.createBranchFromContent("nowhere"), { reason: ErrorReason.CONTENT_NOT_FOUND });
  });
});

describe("queries", () => {
  test("tell turns, their outline and where a text is", async () => {
    const session = open("queries");
    await session.addItems([user(`Hello ${"x".repeat(200)}`), assistant("Hi.")]);
    await session.addItems([user("GRÜSSE"), assistant("Hallo.")]);
    const turns = await session.getConversationTurns();
    assert.deepEqual(
      turns.map(({ turn, content, canBranch }) => [turn, content.length, canBranch]),
      [
        [1, 103, true],
        [2, 6, true],
      ],
    );
    assert.deepEqual((await session.findTurnsByContent("hello"))[0]?.content.length, 206);
    assert.deepEqual(await session.findTurnsByContent("grüsse"), []);
    assert.deepEqual(
      (await session.searchTurns("grüsse")).map(({ branchId, turn }) => [branchId, turn]),
      [["main", 2]],
    );
    const outline = await session.getConversationByTurns();
    assert.deepEqual(
      outline.get(2)?.map(({ type }) => type),
      ["user", "assistant"],
    );
    assert.deepEqual(await session.getConversationTurns("nowhere"), []);
    await session.addItems([user("\u{1F333}".repeat(101)), user("\u{1F333}".repeat(100))]);
    assert.deepEqual(
      (await session.getConversationTurns()).slice(2).map(({ content }) => content),
      [`${"\u{1F333}".repeat(100)}...`, "\u{1F333}".repeat(100)],
    );
  });

  test("follow a conversation as it grows", async () => {
    const session = open("watch");
    const changes = session.watch();
    assert.deepEqual((await next(changes)).items, []);
    await session.addItems([user("one")]);
    const change = await next(changes);
    assert.deepEqual(
      [change.items, change.types, change.turns, change.branchId],
      [[user("one")], ["user"], [1], "main"],
    );
    await changes.return(undefined);
    const [turn] = await collect(session.streamTurns());
    assert.deepEqual([turn?.turn, turn?.items, turn?.types], [1, [user("one")], ["user"]]);
  });

  test("describe the session and its labels", async () => {
    const session = open("described");
    await session.updateSession({ labels: { team: "red" } });
    assert.deepEqual((await session.getSession())?.labels, { team: "red" });
  });
});

test("a number that is not whole is refused as every other value that cannot be", async () => {
  const session = open("whole");
  const usage = new Usage({ inputTokens: NaN });
  for (const [field, refused] of [
    ["limit", () => session.readItems({ limit: 1.5 })],
    ["limit_turns", () => session.readItems({ limitTurns: Infinity })],
    ["turn", () => session.createBranchFromTurn(1.5)],
    ["after_turn", () => session.createBranchAfterTurn(NaN)],
    ["turn", () => session.getTurnUsage(0.5)],
    ["usage.input_tokens", () => session.storeRunUsage({ runContext: { usage } })],
  ] as const) {
    const error = await refused().catch((reason: unknown) => reason);
    assert(error instanceof TurntreeError);
    const { reason, facts } = error;
    assert.deepEqual([reason, facts.field, facts.limit], [ErrorReason.FIELD_INVALID, field, "a whole number"]);
  }
});

test("what is not the result of a run is refused, and changes no usage", async () => {
  const session = open("no run");
  await session.addItems([user("one")]);
  for (const [value, result] of [
    ["undefined", undefined],
    ["undefined", null],
    ["undefined", "Sunny."],
    ["undefined", { runContext: {} }],
    ["number", { runContext: { usage: 5 } }],
    ["null", { runContext: { usage: null } }],
  ] as const) {
    const error = await session.storeRunUsage(result as never).catch((reason: unknown) => reason);
    assert(error instanceof TurntreeError, String(error));
    const { reason, facts } = error;
    assert.deepEqual([reason, facts.field, facts.value], [ErrorReason.FIELD_INVALID, "result.runContext.usage", value]);
  }
  assert.equal(await session.getSessionUsage(), undefined);
});

test("usage may come without details", async () => {
  const session = open("no details");
  await session.addItems([user("one")]);
  const counts = { requests: 1, inputTokens: 3, outputTokens: 1, totalTokens: 4 };
  await session.storeRunUsage({ runContext: { usage: counts } });
  const [turn] = await session.getTurnUsage();
  assert.deepEqual([turn?.totalTokens, turn?.inputTokensDetails], [4, undefined]);
});

test("sessions of a URL share a connection, which ends with the last of them", async () => {
  const proxy = await Proxy.start(() => server.address);
  const url = proxy.address;
  const [one, other] = [new TurntreeSession("shared", { url }), new TurntreeSession("shared", { url })];
  await one.addItems([user("one")]);
  one.close();
  one.close();
  assert.deepEqual(await gists(other), ["one"]);
  assert.equal(proxy.connections, 1);
  other.close();
  await assert.rejects(other.getItems(), { reason: ErrorReason.SERVER_STOPPING });
  assert.throws(() => new TurntreeSession("both", { url: "localhost:1", client }), { code: "INVALID_ARGUMENT" });
});
