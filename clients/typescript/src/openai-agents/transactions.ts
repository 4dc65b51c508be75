import { createHash } from "node:crypto";
import { isDeepStrictEqual } from "node:util";
import type { AgentInputItem, SessionHistoryTransactionArgs } from "@openai/agents";
import type { TurntreeClient } from "../client.js";
import { invalid, kindOf, TurntreeError } from "../errors.js";
import { ErrorReason } from "../gen/turntree/v1/error_reason_pb.js";
import type { SessionHandle } from "../session-handle.js";
import { each, type Encoded, encodeAll, roundTrip } from "./codec.js";
import { asJson } from "./convert/json.js";
import { append, read, replace, type Snapshot } from "./history.js";

const TRIES_MAX = 10;
const SHOWN_CHARACTERS = 60;
const MORE_THAN_ANY_BRANCH_HAS = 2n ** 62n;

/** A transaction as it was when it was asked for, whatever becomes of its items afterwards. */
export interface EncodedTransaction {
  operationId: string;

  /** The same for the same transaction. */
  digest: string;

  /** What the history must end with, to be replaced; undefined when the items are appended. */
  expectedSuffix: AgentInputItem[] | undefined;

  items: Encoded;
}

/**
 * A transaction as it is sent.
 *
 * @throws {@link TurntreeError} FIELD_INVALID, for what is none.
 */
export function encodeTransaction(args: SessionHistoryTransactionArgs): EncodedTransaction {
  if (kindOf(args) !== "object") throw invalid("args", kindOf(args), "an object with an operationId and a transaction");
  const { operationId, transaction } = args;
  if (typeof operationId !== "string" || operationId.trim() === "") {
    throw invalid("operationId", shown(operationId), "a text that is not blank");
  }
  if (kindOf(transaction) !== "object") throw invalid("transaction", kindOf(transaction), "an object");
  switch (transaction.type) {
    case "append_items": {
      const { type, items } = transaction;
      const encoded = encodeAll("transaction.items", items);
      return { operationId, digest: digest({ type, items }), expectedSuffix: undefined, items: encoded };
    }
    case "replace_suffix": {
      const { type, expectedSuffix, replacement } = transaction;
      return {
        operationId,
        expectedSuffix: each("transaction.expectedSuffix", expectedSuffix, roundTrip),
        items: encodeAll("transaction.replacement", replacement),
        digest: digest({ type, expectedSuffix, replacement }),
      };
    }
    default: {
      const { type } = transaction as { type: unknown };
      throw invalid("transaction.type", shown(type), "append_items or replace_suffix");
    }
  }
}

/**
 * Change the history once for an operation id, or not at all; see `SessionHistoryTransactionAwareSession` of the SDK.
 *
 * Two requests: the first ties the operation id to the transaction, and changes nothing in the session but that it was
 * active; the second is the change. Its request id is known to the server exactly when the change was made. For what is
 * done again after a crash, that is asked for with other words (another generation, another cursor), so the refusal to
 * use the id again says that the work is done. The server knows ids for 24 hours.
 *
 * @throws {@link TurntreeError} REQUEST_ID_REUSED, when the operation id was used for another transaction;
 *   CURSOR_MISMATCH, when the history does not end with the expected suffix.
 */
export async function applyTransaction(
  client: TurntreeClient,
  session: SessionHandle,
  transaction: EncodedTransaction,
): Promise<void> {
  const { sessionId } = session;
  const requestId = digest([sessionId, transaction.operationId]);
  const removeLabels = [`transaction ${transaction.digest.slice(0, 40)}`];
  await client.updateSession({ sessionId, removeLabels, requestId: `${requestId} begins` });
  try {
    const { expectedSuffix, items } = transaction;
    if (expectedSuffix !== undefined) await replaceSuffix(session, expectedSuffix, items, requestId);
    else if (items.items.length > 0) await append(session, items, requestId);
  } catch (error) {
    if (!isReason(error, ErrorReason.REQUEST_ID_REUSED)) throw error;
  }
}

async function replaceSuffix(
  session: SessionHandle,
  expected: readonly AgentInputItem[],
  replacement: Encoded,
  requestId: string,
): Promise<void> {
  for (let tries = 1; ; tries += 1) {
    const found = await read(session, { limit: expected.length });
    if (!isDeepStrictEqual(found.items, expected)) {
      await refuseUnlessDone(session, requestId, found);
    } else {
      try {
        await replace(session, expected.length, replacement, found.cursor, requestId);
        return;
      } catch (error) {
        // Somebody wrote in between: what the history ends with now decides.
        if (!isReason(error, ErrorReason.CURSOR_MISMATCH) || tries === TRIES_MAX) throw error;
      }
    }
  }
}

/** Refuse a replacement, by REQUEST_ID_REUSED if it was made before. What is asked for here can never be done. */
async function refuseUnlessDone(session: SessionHandle, requestId: string, found: Snapshot): Promise<never> {
  try {
    await replace(session, MORE_THAN_ANY_BRANCH_HAS, encodeAll("items", []), found.cursor, requestId);
  } catch (error) {
    if (isReason(error, ErrorReason.REQUEST_ID_REUSED)) throw error;
  }
  const facts = { session_id: session.sessionId, branch_id: session.branch.branchId };
  const message = "the session's history does not end with the suffix that the transaction expects";
  throw new TurntreeError("ABORTED", ErrorReason.CURSOR_MISMATCH, message, facts);
}

function isReason(error: unknown, reason: ErrorReason): boolean {
  return error instanceof TurntreeError && error.reason === reason;
}

/** What an error tells of a value that is to be a text. */
function shown(value: unknown): string {
  return typeof value === "string" ? JSON.stringify(value.slice(0, SHOWN_CHARACTERS)) : kindOf(value);
}

/** The SHA-256 of a value's JSON, whatever the order of its keys, in hexadecimal digits. */
function digest(value: unknown): string {
  const text = JSON.stringify(asJson(value), (_, part: unknown) =>
    typeof part === "object" && part !== null && !Array.isArray(part)
      ? Object.fromEntries(Object.entries(part).sort(([one], [other]) => (one < other ? -1 : 1)))
      : part,
  );
  return createHash("sha256").update(text).digest("hex");
}
