import type { AgentInputItem } from "@openai/agents";
import { invalid, kindOf, whole } from "../errors.js";
import type { Branch } from "../gen/turntree/v1/branch_pb.js";
import type { DeltaKind, ItemsDelta } from "../gen/turntree/v1/item_pb.js";
import type { Turn } from "../gen/turntree/v1/turn_pb.js";
import type { TurnUsage, Usage, UsageTotal } from "../gen/turntree/v1/usage_pb.js";
import { decodeItem, encodeItem } from "../items.js";
import type { TurnRow } from "../rows.js";
import { decodeAll } from "./codec.js";

const PREVIEW_CHARACTERS = 100;

/** A branch of a session. */
export interface BranchInfo {
  branchId: string;
  messageCount: number;
  userTurns: number;
  isCurrent: boolean;
  /** When its first row was written; undefined while it is empty. */
  createdAt: Date | undefined;
}

/** A turn by its user item. */
export interface ConversationTurn {
  turn: number;
  /** Its text, at most 100 characters of it. */
  content: string;
  /** The content of the user item as it is stored: a text, or the parts of it. */
  fullContent: unknown;
  timestamp: Date;
  canBranch: true;
}

/** A turn that a search found. */
export interface FoundTurn extends ConversationTurn {
  branchId: string;
}

/** The type of an item, and the tool it calls or answers. */
export interface ItemOutline {
  type: string;
  toolName: string | undefined;
}

/** How often a tool was called in a turn. */
export interface ToolCount {
  toolName: string | undefined;
  callCount: number;
  turn: number;
}

/** What a session or a branch cost. */
export interface SessionUsage {
  requests: number;
  inputTokens: number;
  outputTokens: number;
  totalTokens: number;
  totalTurns: number;
}

/** What a turn cost. */
export interface TurnUsageInfo {
  turn: number;
  requests: number;
  inputTokens: number;
  outputTokens: number;
  totalTokens: number;
  inputTokensDetails: unknown;
  outputTokensDetails: unknown;
}

/** A change of a watched branch: how to apply it, and the items with the type and the turn of each. */
export interface Change {
  kind: DeltaKind;
  items: AgentInputItem[];
  types: string[];
  turns: number[];
  branchId: string;
  /** Names the result; a watch with it goes on from here. */
  cursor: Uint8Array;
}

/** A turn, or a part of a large one, with its items and the type and the tool of each. */
export interface StreamedTurn {
  turn: number;
  items: AgentInputItem[];
  types: string[];
  toolNames: (string | undefined)[];
  createTime: Date | undefined;
}

/** A branch as `listBranches` tells it. */
export function branchInfo(branch: Branch, currentId: string): BranchInfo {
  return {
    branchId: branch.branchId,
    messageCount: Number(branch.itemCount),
    userTurns: Number(branch.turnCount),
    isCurrent: branch.branchId === currentId,
    createdAt: date(branch.createTime),
  };
}

/** Turns as `getConversationTurns` and the searches tell them, without those whose user item cannot be read. */
export function foundTurns(rows: readonly TurnRow[], characters = PREVIEW_CHARACTERS): FoundTurn[] {
  return rows.flatMap((row) => {
    const item = parsed(row.userItem);
    if (typeof item !== "object" || item === null) return [];
    const fullContent = (item as { content?: unknown }).content ?? "";
    const text = typeof fullContent === "string" ? fullContent : JSON.stringify(fullContent);
    const content = beginning(text, characters);
    const turn = Number(row.turn);
    return [
      { branchId: row.branchId, turn, content, fullContent, timestamp: row.createTime, canBranch: true as const },
    ];
  });
}

/** A text, or so many characters of it and dots. */
function beginning(text: string, characters: number): string {
  if (text.length <= characters) return text;
  const shown = Array.from(text.slice(0, 2 * characters))
    .slice(0, characters)
    .join("");
  return shown.length < text.length ? `${shown}...` : text;
}

/** A change from a delta with metadata. */
export function change(delta: ItemsDelta): Change {
  const items = decodeAll(delta.items, delta.natives);
  const known = items.map((item, index) => ({ item, metadata: delta.metadata[index] })).filter(isKnown);
  return {
    kind: delta.kind,
    items: known.map(({ item }) => item),
    types: known.map(({ metadata }) => metadata?.type ?? "other"),
    turns: known.map(({ metadata }) => Number(metadata?.turn ?? 0)),
    branchId: delta.branch?.branchId ?? "",
    cursor: delta.cursor,
  };
}

/** A turn with its items decoded. */
export function streamedTurn(turn: Turn): StreamedTurn {
  const items = decodeAll(turn.items, turn.natives);
  const known = items.map((item, index) => ({ item, metadata: turn.metadata[index] })).filter(isKnown);
  return {
    turn: Number(turn.turn),
    items: known.map(({ item }) => item),
    types: known.map(({ metadata }) => metadata?.type ?? "other"),
    toolNames: known.map(({ metadata }) => metadata?.toolName),
    createTime: date(turn.createTime),
  };
}

/** The sum of a session's usage. */
export function sessionUsage(total: UsageTotal): SessionUsage {
  return {
    requests: Number(total.requests),
    inputTokens: Number(total.inputTokens),
    outputTokens: Number(total.outputTokens),
    totalTokens: Number(total.totalTokens),
    totalTurns: Number(total.turnCount),
  };
}

/** The usage of a turn. */
export function turnUsage({ turn, usage }: TurnUsage): TurnUsageInfo {
  return {
    turn: Number(turn),
    requests: Number(usage?.requests ?? 0),
    inputTokens: Number(usage?.inputTokens ?? 0),
    outputTokens: Number(usage?.outputTokens ?? 0),
    totalTokens: Number(usage?.totalTokens ?? 0),
    inputTokensDetails: details(usage?.inputTokensDetails),
    outputTokensDetails: details(usage?.outputTokensDetails),
  };
}

/** What the SDK counts in a run. */
export interface RunUsage {
  requests: number;
  inputTokens: number;
  outputTokens: number;
  totalTokens: number;
  inputTokensDetails?: Record<string, number>[];
  outputTokensDetails?: Record<string, number>[];
}

/** What the SDK gives of a run. */
export interface RunWithUsage {
  runContext: { usage: RunUsage };
}

/**
 * The usage of a run as turntree records it; the details of its requests are added up by key.
 *
 * @throws {@link TurntreeError} FIELD_INVALID, when it is not the result of a run, or a count is none.
 */
export function runUsage(result: unknown): Omit<Usage, "$typeName" | "$unknown"> {
  const usage = (result as Partial<RunWithUsage> | undefined | null)?.runContext?.usage;
  if (usage === undefined || kindOf(usage) !== "object") {
    throw invalid("result.runContext.usage", kindOf(usage), "the usage of a run, as in the result of run");
  }
  return {
    requests: whole("usage.requests", usage.requests),
    inputTokens: whole("usage.input_tokens", usage.inputTokens),
    outputTokens: whole("usage.output_tokens", usage.outputTokens),
    totalTokens: whole("usage.total_tokens", usage.totalTokens),
    inputTokensDetails: summed(usage.inputTokensDetails),
    outputTokensDetails: summed(usage.outputTokensDetails),
  };
}

function summed(requests: readonly Record<string, number>[] = []): Uint8Array {
  const sum: Record<string, number> = {};
  for (const [key, count] of requests.flatMap((details) => Object.entries(details))) {
    if (Number.isFinite(count)) sum[key] = (sum[key] ?? 0) + count; // some models' makers leave counts open
  }
  return Object.keys(sum).length === 0 ? new Uint8Array() : encodeItem(sum);
}

function details(json: Uint8Array | undefined): unknown {
  return json === undefined || json.length === 0 ? undefined : parsed(json);
}

function parsed(json: Uint8Array): unknown {
  try {
    return decodeItem(json);
  } catch {
    return undefined; // not JSON: other software wrote it
  }
}

function date(time: { seconds: bigint; nanos: number } | undefined): Date | undefined {
  return time && new Date(Number(time.seconds) * 1000 + time.nanos / 1e6);
}

function isKnown<Entry extends { item: AgentInputItem | undefined }>(
  entry: Entry,
): entry is Entry & { item: AgentInputItem } {
  return entry.item !== undefined;
}
