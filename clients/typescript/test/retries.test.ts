import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Backoff, Retries, RetryBudget } from "#turntree/retries.js";
import { TurntreeError } from "#turntree/errors.js";
import { newRequestId } from "#turntree/request-ids.js";
import { ErrorReason } from "turntree";

const NEVER = new AbortController().signal;
const BUSY = new TurntreeError("UNAVAILABLE", ErrorReason.STORE_BUSY, "busy");

describe("retries", () => {
  test("are at most a hundred at once, one more a second and one for ten answers", () => {
    let now = 0;
    const budget = new RetryBudget(() => now);
    const spendAll = () => {
      let count = 0;
      while (budget.spend()) count += 1;
      return count;
    };
    assert.equal(spendAll(), 100);
    now += 3_500;
    assert.equal(spendAll(), 3);
    for (let answers = 0; answers < 16; answers += 1) budget.answered();
    assert.equal(spendAll(), 2);
  });

  test("wait twice as long each time up to a limit, and less by up to half at random", () => {
    const backoff = new Backoff(400);
    for (const delayMsMax of [100, 200, 400, 400]) {
      const delayMs = backoff.next();
      assert(delayMs >= delayMsMax / 2 && delayMs <= delayMsMax, `${delayMs} of ${delayMsMax}`);
    }
    backoff.reset();
    assert(backoff.next() <= 100);
  });

  test("end with the error when the time, the deadline or the budget is up", async () => {
    await assert.rejects(new Retries(new RetryBudget(), 0, 100).pause(BUSY, NEVER), BUSY);
    await assert.rejects(new Retries(new RetryBudget(), 1000, 100, performance.now() + 10).pause(BUSY, NEVER), BUSY);
    const spent = new RetryBudget(() => 0);
    while (spent.spend());
    await assert.rejects(new Retries(spent, 1000, 100).pause(BUSY, NEVER), BUSY);
  });

  test("of a call leave a tenth of a second for the try", async () => {
    const after = (retryAfterMs: number) =>
      new TurntreeError("UNAVAILABLE", ErrorReason.STORE_FAILED, "refused", {}, { retryAfterMs });
    const retries = () => new Retries(new RetryBudget(), 8_000, 100, performance.now() + 1_000, true);
    for (let count = 0; count < 50; count += 1) {
      const late = after(901);
      await assert.rejects(retries().pause(late, NEVER), late);
    }
    await retries().pause(after(200), NEVER);
    const lost = performance.now();
    assert.throws(() => retries().goOnAt(lost + 901, BUSY), BUSY);
    retries().goOnAt(lost + 800, BUSY);
    const expired = new TurntreeError("UNAUTHENTICATED", ErrorReason.CREDENTIAL_INVALID, "expired");
    const hasty = new Retries(new RetryBudget(), 8_000, 10, performance.now() + 100, true);
    await assert.rejects(hasty.pause(expired, NEVER), expired);
  });

  test("are not made of what cannot be tried again", async () => {
    for (const error of [
      new TurntreeError("NOT_FOUND", ErrorReason.SESSION_NOT_FOUND, "absent"),
      new TurntreeError("RESOURCE_EXHAUSTED", ErrorReason.MESSAGE_TOO_LARGE, "too large"),
    ]) {
      await assert.rejects(new Retries(new RetryBudget(), 1000, 100).pause(error, NEVER), error);
    }
  });

  test("of a stream without an end take nothing from what the calls may try", async () => {
    const budget = new RetryBudget(() => 0);
    const watching = new Retries(budget, 1000, 1);
    watching.persist();
    for (let count = 0; count < 120; count += 1) await watching.pause(BUSY, NEVER);
    assert(budget.spend());
  });

  test("are made of an expired token once, when there is a fresh one", async () => {
    const expired = new TurntreeError("UNAUTHENTICATED", ErrorReason.CREDENTIAL_INVALID, "expired");
    const retries = new Retries(new RetryBudget(), 1000, 1, Infinity, true);
    await retries.pause(expired, NEVER);
    await assert.rejects(retries.pause(expired, NEVER), expired);
    retries.heard();
    await retries.pause(expired, NEVER);
    await assert.rejects(new Retries(new RetryBudget(), 1000, 1).pause(expired, NEVER), expired);
  });

  test("wait no less than the server asks for", async () => {
    const asked = { retryAfterMs: 150 };
    const error = new TurntreeError("RESOURCE_EXHAUSTED", ErrorReason.MESSAGE_TOO_LARGE, "slow down", {}, asked);
    const began = performance.now();
    await new Retries(new RetryBudget(), 1000, 10).pause(error, NEVER);
    assert(performance.now() - began >= 149);
  });
});

test("a request id is a UUID of version 7, and no two are the same", () => {
  const ids = new Set(Array.from({ length: 1000 }, newRequestId));
  assert.equal(ids.size, 1000);
  for (const id of ids) assert.match(id, /^[\da-f]{8}-[\da-f]{4}-7[\da-f]{3}-[89ab][\da-f]{3}-[\da-f]{12}$/);
});
