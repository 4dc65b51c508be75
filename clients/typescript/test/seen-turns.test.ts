import assert from "node:assert/strict";
import { test } from "node:test";

import { create } from "@bufbuild/protobuf";

import { StreamTurnsResponseSchema } from "../src/gen/turntree/v1/turn_pb.js";
import { SeenTurns } from "../src/seen-turns.js";

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const text = (data: Uint8Array | undefined): string => new TextDecoder().decode(data);

const part = (cursor: string, continued: boolean, items: string) =>
  create(StreamTurnsResponseSchema, {
    turns: [{ turn: 1n, items: Array.from(items, bytes) }],
    cursor: bytes(cursor),
    continued,
  });

test("until all that was seen has come again, the cursor stays the one that says what it was", () => {
  const seen = new SeenTurns();
  seen.take(part("abc", true, "abc"));
  for (let cut = 0; cut < 2; cut++) {
    seen.resume();
    const again = part("a", true, "a");
    assert.ok(seen.take(again));
    assert.equal(text(again.cursor), "abc");
  }
  const rest = part("abcd", false, "bcd");
  assert.ok(seen.take(rest));
  assert.equal(text(rest.cursor), "abcd");
  assert.equal(text(rest.turns[0]?.items[0]), "d");
});
