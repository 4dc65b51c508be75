// TLS, tokens and limits, as a real server has them.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { ErrorReason, TurntreeClient } from "turntree";
import { TurntreeSession } from "turntree/openai-agents";
import { message, next } from "./support/collect.js";
import { Server } from "./support/server.js";

const REPOSITORY = fileURLToPath(new URL("../../../../", import.meta.url));
const MAKE_CERTIFICATES = `
import pathlib, sys
from tests.support.credentials import Authority
folder = pathlib.Path(sys.argv[1])
authority = Authority(folder)
authority.issue("server")
authority.issue("client")
Authority(folder, "stranger")
`;

const run = promisify(execFile);
const keys: Record<string, string> = {};
const server = await Server.start(async (folder) => {
  await run(process.env.PYTHON ?? "python3", ["-c", MAKE_CERTIFICATES, folder], { cwd: REPOSITORY });
  const keysFile = join(folder, "keys.json");
  for (const role of ["reader", "writer"]) {
    const create = ["keys", "create", "--keys-file", keysFile, "--name", role, "--role", role];
    const { stdout } = await run(process.env.TURNTREE ?? "turntree", create);
    keys[role] = /tt_\S+/.exec(stdout)?.[0] ?? stdout.trim();
  }
  return [
    ...["--tls-cert", join(folder, "server.pem"), "--tls-key", join(folder, "server.key")],
    ...["--tls-client-ca", join(folder, "authority.pem"), "--keys-file", keysFile],
    ...["--rate-max", "20"],
  ];
});

function address(ca = "authority", certificate: string | null = "client"): string {
  const options = new URLSearchParams({ ca_file: file(`${ca}.pem`) });
  if (certificate !== null) {
    options.set("cert_file", file(`${certificate}.pem`));
    options.set("key_file", file(`${certificate}.key`));
  }
  return `turntrees://${server.address}?${options.toString()}`;
}

function file(name: string): string {
  return join(server.folder, name);
}

function open(token?: string, options: { retryMs?: number } = {}): TurntreeClient {
  return new TurntreeClient(address(), { ...(token !== undefined && { token }), ...options });
}

test("a call over TLS with a certificate and a token is answered, and so is a stream", async () => {
  await using client = open(keys.writer);
  await client.addItems({ sessionId: "secure", items: [message("user", "Hello")] });
  assert.equal((await next(client.watch({ sessionId: "secure" }))).delta?.items.length, 1);
  await using session = new TurntreeSession("secure", { url: address(), token: keys.writer ?? "" });
  assert.equal((await session.getItems()).length, 1);
});

test("a missing, a wrong and a weak credential are refused, and told apart", async () => {
  for (const [token, expected] of [
    [undefined, { code: "UNAUTHENTICATED", reason: ErrorReason.CREDENTIAL_REQUIRED }],
    ["tt_wrong", { code: "UNAUTHENTICATED", reason: ErrorReason.CREDENTIAL_INVALID }],
    [
      keys.reader,
      { code: "PERMISSION_DENIED", reason: ErrorReason.ROLE_INSUFFICIENT, facts: { role: "reader", limit: "writer" } },
    ],
  ] as const) {
    await using client = open(token);
    await assert.rejects(client.addItems({ sessionId: "refused", items: [message("user", "Hello")] }), expected);
  }
  await using reader = open(keys.reader);
  assert.equal((await reader.getItems({ sessionId: "refused" })).delta?.items.length, 0);
});

test("a connection that is not trusted by both is none", async () => {
  for (const untrusted of [address("stranger"), address("authority", null), `turntree://${server.address}`]) {
    await using client = new TurntreeClient(untrusted, { retryMs: 300 });
    const unreachable = { reason: ErrorReason.SERVER_UNREACHABLE };
    await assert.rejects(client.getItems({ sessionId: "s" }), unreachable, untrusted);
  }
});

test("a rate that is too high is slowed down, and no call fails", async () => {
  await using client = open(keys.reader);
  const began = performance.now();
  await Promise.all(Array.from({ length: 40 }, () => client.getItems({ sessionId: "s" })));
  assert(performance.now() - began > 500);
  await using impatient = open(keys.reader, { retryMs: 0 });
  const calls = Array.from({ length: 60 }, () => impatient.getItems({ sessionId: "s" }));
  const refused = (await Promise.allSettled(calls)).find((call) => call.status === "rejected");
  const { reason, retryAfterMs } = refused?.reason as { reason: ErrorReason; retryAfterMs?: number };
  assert.equal(reason, ErrorReason.RATE_EXCEEDED);
  assert((retryAfterMs ?? 0) > 0);
});
