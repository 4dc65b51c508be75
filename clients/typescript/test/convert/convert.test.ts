/** The converter loses nothing, of any item that the type definitions of the SDKs declare, and of any other JSON. */

import assert from "node:assert/strict";
import { test } from "node:test";

import type { AgentInputItem } from "@openai/agents";
import fc from "fast-check";

import { knownFields } from "#turntree/openai-agents/convert/coverage.js";
import { fromJs, toJs } from "#turntree/openai-agents/convert/index.js";
import { asJson } from "#turntree/openai-agents/convert/json.js";

import { membersOf } from "./declared.js";

/** Items that hold whatever a model's maker has, also what is no Responses item. */
const HAS_ANY_FORM = ["hosted_tool_call", "unknown"];

const RUNS = { numRuns: 300 };

/** What a reader of the dialect sees of an item that was stored. */
function readBack(item: unknown): unknown {
  const stored = fromJs(item as AgentInputItem);
  const { payload, native } = JSON.parse(JSON.stringify(stored)) as { payload: unknown; native?: unknown };
  return native === undefined ? toJs(payload) : native;
}

function assertStoredIsKept(payload: unknown): void {
  const item = toJs(payload);
  const stored = fromJs(item);
  assert.deepEqual(stored.payload, payload);
  assert.equal(stored.native, undefined);
}

for (const union of ["InputItem", "OutputItem"]) {
  for (const member of membersOf(union)) {
    test(`${union} ${member.name}: stored, JavaScript, stored is the same`, () => {
      fc.assert(
        fc.property(member.samples, (sample) => assertStoredIsKept(asJson(sample))),
        RUNS,
      );
    });

    test(`${union} ${member.name}: also with fields that are new, and with nulls`, () => {
      const more = fc.dictionary(
        fc.constantFrom(...member.fields, "new_field", "providerData", "turntree", "__proto__"),
        fc.oneof(fc.constant(null), fc.jsonValue({ maxDepth: 2 })),
        { maxKeys: 2 },
      );
      fc.assert(
        fc.property(member.samples, more, (sample, extra) =>
          assertStoredIsKept(asJson({ ...(sample as object), ...extra })),
        ),
        RUNS,
      );
    });
  }
}

for (const member of membersOf("JsItem")) {
  test(`JsItem ${member.name}: JavaScript, stored, JavaScript is the same`, () => {
    fc.assert(
      fc.property(member.samples, (sample) => assert.deepEqual(readBack(sample), asJson(sample))),
      RUNS,
    );
  });

  test(`JsItem ${member.name}: also with fields that are new, and with nulls`, () => {
    const more = fc.dictionary(
      fc.constantFrom(...member.fields, "newField", "turntree", "payload"),
      fc.oneof(fc.constant(null), fc.constant(undefined), fc.jsonValue({ maxDepth: 2 })),
      { maxKeys: 2 },
    );
    fc.assert(
      fc.property(member.samples, more, (sample, extra) => {
        const item = { ...(sample as object), ...extra };
        assert.deepEqual(readBack(item), asJson(item));
      }),
      RUNS,
    );
  });
}

for (const member of membersOf("JsItem")) {
  const [type = "message"] = member.types;

  test(`JsItem ${member.name}: also if it was stored as it is, by a program that knows no other form`, () => {
    fc.assert(
      fc.property(member.samples, (sample) => assertStoredIsKept(asJson(sample))),
      RUNS,
    );
  });

  if (!HAS_ANY_FORM.includes(type)) {
    test(`JsItem ${member.name}: what is stored is a Responses item, and no key of any other kind is in it`, () => {
      const known = knownFields();
      fc.assert(
        fc.property(member.samples, (sample) => {
          const payload = fromJs(sample as AgentInputItem).payload as Record<string, unknown>;
          const fields = known.get((payload.type as string | undefined) ?? "message");
          assert.ok(fields, `type ${String(payload.type)}`);
          assert.deepEqual(
            Object.keys(payload).filter((key) => !fields.has(key)),
            [],
          );
        }),
        RUNS,
      );
    });
  }
}

test("a call of a hosted tool that was stored as JavaScript has it stays so", () => {
  assertStoredIsKept({ type: "hosted_tool_call", id: "ws_1", name: "web_search_call", status: "completed" });
  assertStoredIsKept({ type: "hosted_tool_call", name: "other", turntree: { set: { name: "another" } } });
});

test("a field that is there twice, spelled in both ways, is kept as it is", () => {
  assertStoredIsKept({ callId: "one", call_id: "two", type: "tool_search_call" });
  assertStoredIsKept({ call_id: "two", callId: "one", type: "tool_search_call" });
});

test("bytes are kept as their base64 text, whatever holds them", () => {
  const bytes = Uint8Array.of(1, 2, 255);
  for (const data of [bytes, Buffer.from(bytes), bytes.buffer, new Uint8Array([0, ...bytes]).subarray(1)]) {
    assert.deepEqual(
      readBack({ type: "unknown", providerData: { data } }),
      readBack({ type: "unknown", providerData: { data: "AQL/" } }),
    );
  }
});

test("any JSON is kept, from either side, and never an error", () => {
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      const json = asJson(value);
      assertStoredIsKept(json);
      assert.deepEqual(readBack(json), json);
    }),
    RUNS,
  );
});
