// What a server says that no real one can be made to say at will.
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http2";
import type { AddressInfo } from "node:net";
import { after, test } from "node:test";
import { Code, ConnectError, type HandlerContext } from "@connectrpc/connect";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import { ErrorInfoSchema, RetryInfoSchema } from "#turntree/gen/google/rpc/error_details_pb.js";
import { ErrorReason, SessionService, TurntreeClient } from "turntree";

let answers: (Error | undefined)[] = [];
let seen: { headers: Headers; requestId: string }[] = [];

const answer = (requestId: string, context: HandlerContext) => {
  seen.push({ headers: context.requestHeader, requestId });
  const error = answers.shift();
  if (error !== undefined) throw error;
  return {};
};
const listener = createServer(
  connectNodeAdapter({
    routes: (router) =>
      router.service(SessionService, {
        clearSession: ({ requestId }, context) => answer(requestId, context),
        getSession: (_, context) => answer("", context),
      }),
  }),
).listen(0, "127.0.0.1");
await once(listener, "listening");
const address = `127.0.0.1:${(listener.address() as AddressInfo).port}`;
after(() => listener.close());

function script(...errors: (Error | undefined)[]): void {
  answers = errors;
  seen = [];
}

function refusal(code: Code, reason: string, retryAfterMs?: number): ConnectError {
  const info = { desc: ErrorInfoSchema, value: { reason, domain: "turntree", metadata: { limit: "1" } } };
  const retry = { desc: RetryInfoSchema, value: { retryDelay: { nanos: (retryAfterMs ?? 0) * 1e6 } } };
  return new ConnectError("refused", code, undefined, retryAfterMs === undefined ? [info] : [info, retry]);
}

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
  assert.deepEqual(
    seen.map(({ headers }) => headers.get("authorization")),
    ["Bearer t1", "Bearer t2"],
  );
  client.close();

  script();
  process.env.TURNTREE_TOKEN = "of the environment";
  const other = new TurntreeClient(address);
  delete process.env.TURNTREE_TOKEN;
  await other.getSession({ sessionId: "s" });
  assert.equal(seen[0]?.headers.get("authorization"), "Bearer of the environment");
  other.close();
});

test("a token that cannot be had is the caller's error, at once", async () => {
  script();
  const missing = new Error("no token today");
  const client = new TurntreeClient(address, { token: () => Promise.reject(missing) });
  await assert.rejects(client.getSession({ sessionId: "s" }), missing);
  assert.equal(seen.length, 0);
  client.close();
});
