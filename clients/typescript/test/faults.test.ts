import assert from "node:assert/strict";
import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";
import { describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { DeltaKind, ErrorReason, TurntreeClient, TurntreeError } from "turntree";
import { TurntreeSession } from "turntree/openai-agents";
import { collect, contents, message, next } from "./support/collect.js";
import { Proxy } from "./support/proxy.js";
import { Server } from "./support/server.js";

const server = await Server.start();
const proxy = await Proxy.start(() => server.address);
const client = new TurntreeClient(proxy.address);
const direct = new TurntreeClient(server.address);

describe("a mutation", () => {
  test("whose answer is lost in a crash of the server has one effect, and succeeds", async () => {
    const sessionId = "crash";
    await client.getItems({ sessionId });
    proxy.isDeaf = true;
    const added = client.addItems({ sessionId, items: [message("user", "once")] });
    while ((await direct.getItems({ sessionId })).delta?.items.length === 0) await sleep(5);
    await server.kill();
    proxy.cut();
    proxy.isDeaf = false;
    await server.startAgain();
    assert.equal((await added).turn, 1n);
    assert.deepEqual(contents((await direct.getItems({ sessionId })).delta?.items), ["once"]);
  });

  test("keeps the request id it is given", async () => {
    const request = { sessionId: "given", items: [message("user", "once")], requestId: "given-1" };
    assert.deepEqual(await client.addItems(request), await direct.addItems(request));
    assert.equal((await direct.getItems({ sessionId: "given" })).delta?.items.length, 1);
    const reused = client.addItems({ ...request, items: [message("user", "other")] });
    await assert.rejects(reused, { reason: ErrorReason.REQUEST_ID_REUSED });
  });
});

describe("a call", () => {
  test("to a server that is away fails in its time, and says where it is not", async () => {
    const away = new TurntreeClient("127.0.0.1:9", { retryMs: 400 });
    const began = performance.now();
    await assert.rejects(away.getSession({ sessionId: "s" }), {
      code: "UNAVAILABLE",
      reason: ErrorReason.SERVER_UNREACHABLE,
      facts: { target: "127.0.0.1:9" },
    });
    const elapsed = performance.now() - began;
    assert(elapsed > 100 && elapsed < 5_000, `${elapsed} ms`);
  });

  test("to an address where nobody speaks finds that out in five seconds, and so does a stream", async (context) => {
    const silent = createServer(() => undefined).listen(0, "127.0.0.1");
    await once(silent, "listening");
    const { port } = silent.address() as AddressInfo;
    const nobody = new TurntreeClient(`turntrees://127.0.0.1:${port}`, { retryMs: 1 });
    context.mock.timers.enable({ apis: ["setTimeout"] });
    for (const ask of [() => nobody.getSession({ sessionId: "s" }), () => next(nobody.watch({ sessionId: "s" }))]) {
      const connected = once(silent, "connection");
      const asked = assert.rejects(ask(), { code: "UNAVAILABLE", reason: ErrorReason.SERVER_UNREACHABLE });
      await connected;
      context.mock.timers.tick(5_000);
      await asked;
    }
    nobody.close();
    silent.close();
  });

  test("without an answer fails at its deadline", async () => {
    await client.getItems({ sessionId: "s" });
    proxy.isDeaf = true;
    await assert.rejects(client.getItems({ sessionId: "s" }, { timeoutMs: 150 }), {
      code: "DEADLINE_EXCEEDED",
      reason: ErrorReason.DEADLINE_EXCEEDED,
    });
    proxy.isDeaf = false;
  });

  test("that is aborted rejects with the reason of its signal, also while it waits to be tried again", async () => {
    await client.getItems({ sessionId: "s" });
    const reason = new Error("enough");
    const away = new TurntreeClient("127.0.0.1:9");
    proxy.isDeaf = true;
    for (const waiting of [client, away]) {
      const controller = new AbortController();
      const call = waiting.getItems({ sessionId: "s" }, { signal: controller.signal });
      setTimeout(() => controller.abort(reason), 60);
      await assert.rejects(call, reason);
      await assert.rejects(waiting.getItems({ sessionId: "s" }, { signal: controller.signal }), reason);
    }
    proxy.isDeaf = false;
  });

  test("of a closed client is refused, and so is one that was under way", async () => {
    const closing = new TurntreeClient("127.0.0.1:9");
    const call = closing.getItems({ sessionId: "s" });
    setTimeout(() => closing.close(), 30);
    await assert.rejects(call, { reason: ErrorReason.SERVER_STOPPING });
    await assert.rejects(closing.getItems({ sessionId: "s" }), { reason: ErrorReason.SERVER_STOPPING });
    await assert.rejects(next(closing.watch({ sessionId: "s" })), { reason: ErrorReason.SERVER_STOPPING });
  });
});

describe("a session", () => {
  test("that sixty read at once while its server is killed and started again answers every one of them", async () => {
    const readers = new TurntreeClient(proxy.address);
    const session = new TurntreeSession("read by sixty", { client: readers });
    await session.addItems([{ role: "user", content: "kept" }]);
    proxy.isDeaf = true;
    const reads = Promise.all(Array.from({ length: 60 }, () => session.getItems()));
    const restart = async () => {
      await server.kill();
      proxy.cut();
      proxy.isDeaf = false;
      await server.startAgain();
    };
    const [read] = await Promise.all([reads, restart()]);
    for (const items of read) assert.deepEqual(items, [{ role: "user", content: "kept" }]);
    readers.close();
  });
});

describe("a stream that is cut", () => {
  const large = (name: string) =>
    Array.from({ length: 30 }, (_, number) => message("assistant", `${name} ${number} ${"x".repeat(100_000)}`));

  test("goes on with the next item", async () => {
    const sessionId = "cut items";
    const sent = large("item");
    await direct.addItems({ sessionId, items: sent });
    const stream = client.streamItems({ sessionId });
    const items = (await next(stream)).delta?.items ?? [];
    assert(items.length < sent.length);
    const before = proxy.connections;
    proxy.cut();
    for await (const { delta } of stream) items.push(...(delta?.items ?? []));
    assert.equal(proxy.connections, before + 1);
    assert.deepEqual(contents(items), contents(sent));
  });

  test("goes on within a turn, with nothing twice", async () => {
    const sessionId = "cut turns";
    const sent = [message("user", "Go"), ...large("turn"), message("user", "Stop")];
    await direct.addItems({ sessionId, items: sent });
    const stream = client.streamTurns({ sessionId });
    const first = await next(stream);
    assert(first.continued);
    proxy.cut();
    const turns = [...first.turns, ...(await collect(stream)).flatMap((response) => response.turns)];
    assert.deepEqual(contents(turns.flatMap((turn) => turn.items)), contents(sent));
    assert.deepEqual([turns.at(0)?.turn, turns.at(-1)?.turn], [1n, 2n]);
    assert.equal(turns.flatMap((turn) => turn.metadata).length, sent.length);
  });

  test("fails when the server is not there in time", async () => {
    const impatient = new TurntreeClient(proxy.address, { retryMs: 300 });
    const stream = impatient.streamItems({ sessionId: "cut items" });
    await next(stream);
    await server.kill();
    await assert.rejects(collect(stream), (error) => {
      assert(error instanceof TurntreeError);
      return error.reason === ErrorReason.SERVER_UNREACHABLE;
    });
    await server.startAgain();
  });
});

describe("a watch", () => {
  test("goes on over a restart of the server, and says what changed and nothing else", async () => {
    const sessionId = "watched";
    await direct.addItems({ sessionId, items: [message("user", "before")] });
    const changes = client.watch({ sessionId });
    assert.equal((await next(changes)).delta?.kind, DeltaKind.REPLACED);
    await server.kill();
    await server.startAgain();
    const change = next(changes);
    await direct.addItems({ sessionId, items: [message("user", "after")] });
    const { delta } = await change;
    assert.deepEqual([delta?.kind, contents(delta?.items)], [DeltaKind.APPENDED, ["after"]]);
    await changes.return(undefined);
  });

  test("notices within five seconds a network that died without a word", async (context) => {
    const sessionId = "silence";
    const network = await Proxy.start(() => server.address);
    context.mock.timers.enable({ apis: ["setTimeout", "Date"] });
    const watcher = new TurntreeClient(network.address);
    const changes = watcher.watch({ sessionId });
    await next(changes);
    network.silence();
    const change = next(changes);
    await direct.addItems({ sessionId, items: [message("user", "news")] });
    context.mock.timers.tick(3_000);
    await direct.getItems({ sessionId }); // whoever can be heard has been heard by now
    context.mock.timers.tick(2_000);
    assert.deepEqual(contents((await change).delta?.items), ["news"]);
    watcher.close();
  });

  test("ends when its reader leaves it, and rejects when it is aborted", async () => {
    const controller = new AbortController();
    const changes = client.watch({ sessionId: "left" }, { signal: controller.signal });
    await next(changes);
    const reason = new Error("enough");
    setTimeout(() => controller.abort(reason), 30);
    await assert.rejects(next(changes), reason);
    for await (const change of client.watch({ sessionId: "left" })) {
      assert.ok(change.delta);
      break;
    }
  });

  test("of a server that was never there fails in its time", async () => {
    const away = new TurntreeClient("127.0.0.1:9", { retryMs: 100 });
    await assert.rejects(next(away.watch({ sessionId: "s" })), { reason: ErrorReason.SERVER_UNREACHABLE });
  });
});
