import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { Server } from "./support/server.js";

const PROGRAM = fileURLToPath(new URL("../example/conversation.js", import.meta.url));

const server = await Server.start();

test("the example tells its story and ends", async () => {
  const { stdout } = await promisify(execFile)(process.execPath, [PROGRAM, server.address], { timeout: 30_000 });
  const lines = stdout.trim().split("\n");
  const seen = lines.filter((line) => line.startsWith("main now says"));
  assert.deepEqual(seen.at(-1), "main now says: The Tejo, 140 euros a night.");
  assert.equal(seen.length, 4);
  for (const line of [
    "main has 4 items",
    "cheaper has 4 items",
    "turn 2 of cheaper: Find me a cheap hotel.",
    "175 tokens in 3 turns",
  ]) {
    assert(lines.includes(line), `${line} is not in ${stdout}`);
  }
});
