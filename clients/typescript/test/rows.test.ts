import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { create } from "@bufbuild/protobuf";
import {
  ItemMetadataColumnsSchema,
  ToolUsageColumnsSchema,
  TurnColumnsSchema,
} from "#turntree/gen/turntree/v1/turn_pb.js";
import { ErrorReason, itemMetadataRows, toolUsageRows, turnRows, TurntreeError } from "turntree";

const MAX = 2n ** 63n - 1n;

function turns() {
  const userItems = ["{}", "[]"].map((text) => new TextEncoder().encode(text));
  return create(TurnColumnsSchema, {
    turns: [1n, MAX],
    branchIds: ["b"],
    userItems,
    createTimes: [-1n, 1_709_208_001n],
  });
}

function items() {
  return create(ItemMetadataColumnsSchema, {
    types: ["user"],
    typeIndexes: [0, 0],
    toolNames: ["tool"],
    toolIndexes: [0, -1],
    turns: [0n, MAX],
    createTimes: [0n, 0n],
  });
}

function tools() {
  return create(ToolUsageColumnsSchema, {
    toolNames: ["tool"],
    toolIndexes: [-1, 0],
    callCounts: [MAX, 2n],
    turns: [1n, 1n],
  });
}

function assertMalformed<C>(columns: () => C, rows: (columns: C) => unknown[], changes: ((columns: C) => unknown)[]) {
  for (const change of changes) {
    const changed = columns();
    assert.equal(rows(changed).length, 2);
    change(changed);
    assert.throws(
      () => rows(changed),
      (error) => {
        assert(error instanceof TurntreeError);
        assert.deepEqual([error.code, error.reason], ["INTERNAL", ErrorReason.INTERNAL]);
        return true;
      },
      String(change),
    );
  }
}

describe("rows", () => {
  test("have numbers of 64 bits, times in seconds since 1970, and the one branch of all", () => {
    const [first, second] = turnRows(turns());
    assert.deepEqual([first?.turn, first?.branchId, first?.createTime], [1n, "b", new Date(-1000)]);
    assert.deepEqual([second?.turn, second?.branchId], [MAX, "b"]);
    assert.deepEqual(second?.createTime, new Date("2024-02-29T12:00:01Z"));
    assert.equal(new TextDecoder().decode(second.userItem), "[]");
    const createTime = new Date(0);
    assert.deepEqual(itemMetadataRows(items()), [
      { type: "user", toolName: "tool", turn: 0n, createTime },
      { type: "user", toolName: undefined, turn: MAX, createTime },
    ]);
    assert.deepEqual(toolUsageRows(tools()), [
      { toolName: undefined, callCount: MAX, turn: 1n },
      { toolName: "tool", callCount: 2n, turn: 1n },
    ]);
  });

  test("are none where there are no columns", () => {
    assert.deepEqual([turnRows(undefined), itemMetadataRows(undefined), toolUsageRows(undefined)], [[], [], []]);
    assert.deepEqual(turnRows(create(TurnColumnsSchema)), []);
  });

  test("of columns that do not agree are a typed error", () => {
    assertMalformed(turns, turnRows, [
      (columns) => (columns.turns = []),
      (columns) => (columns.branchIds = []),
      (columns) => (columns.branchIds = ["b", "b", "b"]),
      (columns) => (columns.userItems = []),
      (columns) => columns.userItems.push(new Uint8Array()),
      (columns) => (columns.createTimes = []),
      (columns) => columns.createTimes.push(0n),
      (columns) => (columns.createTimes[0] = MAX),
    ]);
    assertMalformed(items, itemMetadataRows, [
      (columns) => (columns.turns = []),
      (columns) => (columns.types = []),
      (columns) => (columns.typeIndexes = []),
      (columns) => (columns.typeIndexes[0] = -1),
      (columns) => columns.toolIndexes.push(0),
      (columns) => (columns.toolIndexes[0] = 1),
      (columns) => (columns.toolIndexes[0] = -2),
      (columns) => columns.createTimes.push(0n),
    ]);
    assertMalformed(tools, toolUsageRows, [
      (columns) => (columns.turns = []),
      (columns) => (columns.toolNames = []),
      (columns) => (columns.toolIndexes = []),
      (columns) => (columns.toolIndexes[1] = 1),
      (columns) => (columns.toolIndexes[1] = -2),
      (columns) => columns.callCounts.push(1n),
    ]);
  });
});
