import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { mock, test } from "node:test";
import { Server } from "./support/server.js";

const FOLDER = new URL("../readme/", import.meta.url);
const EXPECTED = new URL("../../readme/expected.json", import.meta.url);

const server = await Server.start();
process.env.TURNTREE_URL = server.address;

/** What the lines `console.log(…); // text` of each block say that they print, in order. */
const expected = JSON.parse(readFileSync(EXPECTED, "utf8")) as Record<string, string[]>;

test("each block of the README runs, and prints what it says", async () => {
  const blocks = readdirSync(FOLDER).filter((name) => name.endsWith(".js"));
  assert(blocks.length >= 6);
  for (const block of blocks.sort()) {
    const log = mock.method(console, "log", () => undefined);
    await import(new URL(block, FOLDER).href);
    const printed = log.mock.calls.map((call) => call.arguments.map(String).join(" "));
    log.mock.restore();
    // Lines that do not say what they print are left out of what is expected, and may print anything.
    assert.deepEqual(
      printed.filter((line) => expected[block]?.includes(line)),
      expected[block],
      `${block}: ${printed.join("; ")}`,
    );
  }
});
