import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { parseAddress } from "#turntree/address.js";
import { TurntreeError } from "#turntree/errors.js";
import { ErrorReason } from "turntree";

function isRefused(limit: RegExp) {
  return (error: unknown) => {
    assert(error instanceof TurntreeError);
    assert.equal(error.code, "INVALID_ARGUMENT");
    assert.equal(error.reason, ErrorReason.FIELD_INVALID);
    assert.match(error.facts.limit ?? "", limit);
    assert.ok(error.facts.field);
    return true;
  };
}

describe("an address", () => {
  test("is host:port, turntree:// or turntrees://", () => {
    for (const [text, target, isSecure] of [
      ["localhost:50051", "localhost:50051", false],
      ["turntree://memory.example:7", "memory.example:7", false],
      ["turntrees://memory.example:443", "memory.example:443", true],
      ["[::1]:50051", "[::1]:50051", false],
    ] as const) {
      const address = parseAddress(text);
      assert.deepEqual([address.target, address.tls !== undefined], [target, isSecure]);
    }
  });

  test("that is none of these is refused with its limit", () => {
    for (const text of ["", "localhost", "localhost:0", "localhost:65536", "http://localhost:1", "a b:1", ":50051"]) {
      assert.throws(() => parseAddress(text), isRefused(/host:port/), text);
    }
  });

  test("has the files of TLS in its options, and no others", async () => {
    const folder = await mkdtemp(join(tmpdir(), "turntree-"));
    const file = join(folder, "a file.pem");
    writeFileSync(file, "certificate");
    const escaped = encodeURIComponent(file);
    const { tls } = parseAddress(`turntrees://host:1?ca_file=${escaped}&cert_file=${escaped}&key_file=${escaped}`);
    assert.deepEqual([tls?.ca, tls?.cert, tls?.key], Array(3).fill("certificate"));
    await rm(folder, { recursive: true });

    assert.throws(() => parseAddress(`turntrees://host:1?ca_file=${escaped}`), isRefused(/can be read \(ENOENT\)/));
    assert.throws(() => parseAddress("turntrees://host:1?cert_file=a"), isRefused(/both/));
    assert.throws(() => parseAddress("turntrees://host:1?cafile=a"), isRefused(/without the option 'cafile'/));
    assert.throws(() => parseAddress("turntree://host:1?ca_file=a"), isRefused(/turntrees/));
  });
});
