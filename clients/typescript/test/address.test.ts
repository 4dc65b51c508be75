import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { parseAddress, readTls } from "#turntree/address.js";
import { TurntreeError } from "#turntree/errors.js";
import { ErrorReason } from "turntree";

interface Addresses {
  accepted: { url: string; target: string; tls?: Record<string, string> }[];
  refused: { url: string; shown: string }[];
}

/** What is an address, and what is not, is the same in every client. */
const { accepted, refused } = JSON.parse(readFileSync("../addresses.json", "utf8")) as Addresses;

function isRefused(field: string, value: string) {
  return (error: unknown) => {
    assert(error instanceof TurntreeError);
    assert.equal(error.code, "INVALID_ARGUMENT");
    assert.equal(error.reason, ErrorReason.FIELD_INVALID);
    assert.deepEqual([error.facts.field, error.facts.value], [field, value]);
    assert.ok(error.facts.limit);
    assert.ok(!error.message.includes("hunter2"), error.message);
    return true;
  };
}

describe("an address", () => {
  test("is host:port, with a scheme or without, and with TLS names its files as options", () => {
    for (const { url, target, tls } of accepted) {
      const address = parseAddress(url);
      assert.deepEqual([address.target, address.tls], [target, tls], url);
    }
  });

  test("that is none is refused with the field, the value and the limit, and a password is not shown", () => {
    for (const { url, shown } of refused) assert.throws(() => parseAddress(url), isRefused("address", shown), url);
  });

  test("names files in PEM, and one that is not is refused by its option and path", async () => {
    const folder = await mkdtemp(join(tmpdir(), "turntree-"));
    const missing = join(folder, "missing.pem");
    const text = join(folder, "text.pem");
    const half = join(folder, "half.pem");
    writeFileSync(text, "no certificate");
    writeFileSync(half, "-----BEGIN CERTIFICATE-----\nAAAA\n");
    for (const path of [missing, folder, text, half]) {
      assert.throws(() => readTls({ ca_file: path }), isRefused("ca_file", path));
      assert.throws(() => readTls({ cert_file: path, key_file: text }), isRefused("cert_file", path));
    }
    await rm(folder, { recursive: true });
  });
});
