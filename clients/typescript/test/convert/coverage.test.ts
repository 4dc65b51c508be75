/** The converter knows every type and field that the SDKs declare; one that a newer SDK adds fails here. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import fc from "fast-check";

import {
  knownFields,
  knownJsFields,
  NATIVE_ONLY,
  WITHOUT_COUNTERPART,
} from "#turntree/openai-agents/convert/coverage.js";
import { toJs } from "#turntree/openai-agents/convert/index.js";
import { asJson } from "#turntree/openai-agents/convert/json.js";

import { membersOf } from "./declared.js";

/** Types whose samples have another form now and then, and why. */
const SOMETIMES_UNKNOWN: Readonly<Record<string, string>> = {
  message: "of the role developer, of the role system with parts, or an assistant's with parts of input",
  function_call_output: "without a call id, which JavaScript requires",
  computer_call: "without any action",
  computer_call_output: "with an uploaded file in the place of a picture",
};

type Declared = readonly { readonly types: readonly string[]; readonly fields: readonly string[] }[];

const PYTHON_TYPES = new URL("../../../test/convert/python-item-types.json", import.meta.url);

function pythonTypes(): Declared {
  const types = JSON.parse(readFileSync(PYTHON_TYPES, "utf8")) as Record<string, string[]>;
  return Object.entries(types).map(([type, fields]) => ({ types: [type], fields }));
}

const RESPONSES: Readonly<Record<string, Declared>> = {
  "the API's input in JavaScript": membersOf("InputItem"),
  "the API's output in JavaScript": membersOf("OutputItem"),
  "the API's input in Python": pythonTypes(),
};

for (const [what, members] of Object.entries(RESPONSES)) {
  test(`every type and field of ${what} is known`, () => {
    const known = knownFields();
    assert.ok(members.length >= 25);
    for (const { types, fields } of members) {
      assert.ok(types.length > 0);
      for (const type of types.filter((one) => !WITHOUT_COUNTERPART.includes(one))) {
        assert.deepEqual(
          fields.filter((field) => known.get(type)?.has(field) !== true),
          [],
          `fields of ${type} that the converter does not know`,
        );
      }
    }
  });
}

test("every type and field that the converter knows is declared", () => {
  const declared = new Map<string, Set<string>>();
  for (const { types, fields } of Object.values(RESPONSES).flat()) {
    for (const type of types) {
      declared.set(type, new Set([...(declared.get(type) ?? []), ...fields]));
    }
  }
  assert.deepEqual([...knownFields().keys(), ...WITHOUT_COUNTERPART].sort(), [...declared.keys()].sort());
});

test("every type and field of the Agents SDK's items is known", () => {
  const known = knownJsFields();
  const members = membersOf("JsItem");
  for (const { types, fields, name } of members) {
    const [type = "message"] = types;
    const missing = fields.filter((field) => known.get(type)?.has(field) !== true);
    assert.deepEqual(missing.sort(), [...(NATIVE_ONLY[type] ?? [])].sort(), name);
  }
  assert.deepEqual([...known.keys()].sort(), [...new Set(members.map(({ types }) => types[0] ?? "message"))].sort());
});

for (const union of ["InputItem", "OutputItem"]) {
  test(`${union}: what has a counterpart in JavaScript comes as it, and not as unknown`, () => {
    for (const { types, samples, name } of membersOf(union)) {
      const [type = ""] = types;
      const shown = fc.sample(samples, { numRuns: 100 }).map((sample) => toJs(asJson(sample)).type === "unknown");
      if (WITHOUT_COUNTERPART.includes(type)) {
        assert.ok(shown.every(Boolean), name);
      } else {
        assert.ok(shown.includes(false), name);
        assert.ok(type in SOMETIMES_UNKNOWN || !shown.includes(true), name);
      }
    }
  });
}
