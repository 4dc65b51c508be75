// The token of a client: what is sent, what is refused, and what becomes of a call while there is none.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { parseAddress } from "#turntree/address.js";
import { authorization } from "#turntree/token.js";
import { ErrorReason, type Token, TurntreeClient, TurntreeError } from "turntree";
import { message, next } from "./support/collect.js";
import { PipelineServer } from "./support/pipeline-server.js";

const server = await PipelineServer.start();
const NEVER = new AbortController().signal;
const LARGE = message("user", "x".repeat(1_200_000));

/** A call on the stream that all share, one that goes by itself, and a stream. */
const ways = (client: TurntreeClient, options: { signal?: AbortSignal; timeoutMs?: number } = {}) => [
  client.getSession({ sessionId: "s" }, options),
  client.addItems({ sessionId: "s", items: [LARGE] }, options),
  next(client.watch({ sessionId: "s" }, options)),
];

/** A client whose token never comes, once it is asked for one. */
function forever(options: { timeoutMs?: number } = {}) {
  let asked = 0;
  const token = () => {
    asked += 1;
    return new Promise<string>(() => undefined);
  };
  const client = new TurntreeClient(server.address, { token, ...options });
  const waiting = async () => {
    while (asked < 3) await sleep(5);
  };
  return { client, waiting };
}

const hidden = (limit: string) => ({
  name: "TurntreeError",
  code: "INVALID_ARGUMENT",
  reason: ErrorReason.FIELD_INVALID,
  facts: { field: "token", value: "(hidden)", limit },
  message: `token is '(hidden)', must be ${limit}`,
});

const BAD = ["", "tt_secret\n", " tt_secret", "two words", "Zürich", "\u007f"];

describe("a token", () => {
  test("is sent as a bearer token, a fresh one each time if it is a function", async () => {
    let count = 0;
    const headers = authorization(() => `t${++count}`, parseAddress("turntrees://host:1"));
    assert.deepEqual(
      [await headers(1_000, NEVER), await headers(1_000, NEVER)],
      [{ authorization: "Bearer t1" }, { authorization: "Bearer t2" }],
    );
    assert.deepEqual(await authorization(undefined, parseAddress("host:1"))(1_000, NEVER), {});
  });

  test("goes over a plain connection to this machine only", () => {
    const limit = "sent with TLS (turntrees://), or to this machine itself";
    for (const host of ["localhost", "127.0.0.1", "127.1.2.3", "[::1]"]) {
      authorization("secret", parseAddress(`${host}:1`));
    }
    for (const host of ["memory.example", "10.0.0.1", "localhost.example", "127.0.0.1.example", "[::2]"]) {
      const facts = { field: "token", value: `${host}:1`, limit };
      const refused = { code: "INVALID_ARGUMENT", reason: ErrorReason.FIELD_INVALID, facts };
      assert.throws(() => authorization("secret", parseAddress(`${host}:1`)), refused, host);
    }
  });

  test("that cannot be sent is refused when the client is made, and is not shown", () => {
    const refused = hidden("a token of visible ASCII characters");
    for (const token of BAD) {
      assert.throws(() => new TurntreeClient(server.address, { token }), refused, JSON.stringify(token));
    }
    const none = 5 as unknown as Token;
    assert.throws(() => new TurntreeClient(server.address, { token: none }), refused);
  });

  test("that a function gives and that cannot be sent is refused, and is not shown", async () => {
    const refused = hidden("a token of visible ASCII characters");
    for (const token of [...BAD, undefined as unknown as string]) {
      server.script();
      await using client = new TurntreeClient(server.address, { token: () => token });
      await Promise.all(ways(client).map((call) => assert.rejects(call, refused, JSON.stringify(token))));
      assert.deepEqual([server.streams.length, server.unary], [0, 0]);
    }
  });

  test("of the environment that is empty is none", async () => {
    server.script();
    process.env.TURNTREE_TOKEN = "";
    await using client = new TurntreeClient(server.address);
    delete process.env.TURNTREE_TOKEN;
    await client.getSession({ sessionId: "s" });
    assert.equal(server.streams[0]?.token, null);
  });

  test("that cannot be had is a credential that is missing, with the function's error as its cause, at once", async () => {
    const missing = new Error("the vault is sealed");
    const fail = () => {
      throw missing;
    };
    for (const failing of [fail, () => Promise.reject(missing)]) {
      server.script();
      let asked = 0;
      const token = () => {
        asked += 1;
        return failing();
      };
      await using client = new TurntreeClient(server.address, { token });
      const isMissing = (error: unknown) => {
        assert(error instanceof TurntreeError);
        const { code, reason, message, cause } = error;
        const expected = ["UNAUTHENTICATED", ErrorReason.CREDENTIAL_REQUIRED, "no token: the vault is sealed", missing];
        assert.deepEqual([code, reason, message, cause], expected);
        return true;
      };
      await Promise.all(ways(client).map((call) => assert.rejects(call, isMissing)));
      assert.deepEqual([asked, server.streams.length, server.unary], [3, 0, 0]);
    }
  });
});

describe("while a token does not come", { timeout: 20_000 }, () => {
  const late = { code: "DEADLINE_EXCEEDED", reason: ErrorReason.DEADLINE_EXCEEDED };

  test("a call has its deadline, and a stream that of the client's calls", async () => {
    const { client } = forever({ timeoutMs: 300 });
    const began = performance.now();
    await Promise.all(ways(client).map((call) => assert.rejects(call, late)));
    assert(performance.now() - began < 5_000);
    client.close();
  });

  test("a caller that leaves is told its own reason at once", async () => {
    const { client, waiting } = forever();
    const leaving = new AbortController();
    const reason = new Error("enough");
    const calls = ways(client, { signal: leaving.signal });
    const rejected = calls.map((call) => assert.rejects(call, reason));
    await waiting();
    leaving.abort(reason);
    await Promise.all(rejected);
    client.close();
  });

  test("a client that is closed ends its calls at once", async () => {
    const { client, waiting } = forever();
    const rejected = ways(client).map((call) => assert.rejects(call, { reason: ErrorReason.SERVER_STOPPING }));
    await waiting();
    client.close();
    await Promise.all(rejected);
  });

  test("those that have more time than the first ask for another one", async () => {
    server.script();
    let asked = 0;
    const token = () => (++asked === 1 ? new Promise<string>(() => undefined) : "t2");
    await using client = new TurntreeClient(server.address, { token });
    const first = client.getSession({ sessionId: "s" }, { timeoutMs: 200 });
    const other = client.getSession({ sessionId: "s" });
    await assert.rejects(first, late);
    await other;
    assert.equal(server.streams[0]?.token, "Bearer t2");
  });
});
