import { TurntreeError } from "./errors.js";
import { ErrorReason } from "./gen/turntree/v1/error_reason_pb.js";
import type { ItemMetadataColumns, ToolUsageColumns, TurnColumns } from "./gen/turntree/v1/turn_pb.js";

const NONE = -1;

/** A turn by its user item. */
export interface TurnRow {
  /** Its number on its branch. */
  turn: bigint;
  /** The branch it was read from. */
  branchId: string;
  /** The JSON text of its user item. */
  userItem: Uint8Array;
  /** When its user item was written to the branch, to the second. */
  createTime: Date;
}

/** What the server derived from an item. */
export interface ItemMetadataRow {
  /** `user` or `assistant` for messages of these roles, else the item's own `type`, else `other`. */
  type: string;
  /** The tool that the item calls or answers. */
  toolName: string | undefined;
  /** Its turn; 0 before the first user item. */
  turn: bigint;
  /** When it was written to the branch, to the second. */
  createTime: Date;
}

/** How often a tool was called in a turn. */
export interface ToolUsageRow {
  /** The tool; undefined for calls that name none. */
  toolName: string | undefined;
  /** The number of calls. */
  callCount: bigint;
  /** The turn. */
  turn: bigint;
}

/**
 * The turns of a page of `listTurns` or `searchTurns`, row by row.
 *
 * @throws {@link TurntreeError} INTERNAL, when the columns do not agree.
 */
export function turnRows(columns: TurnColumns | undefined): TurnRow[] {
  if (columns === undefined) return [];
  const { turns, userItems, createTimes } = columns;
  const isOneBranch = columns.branchIds.length === 1;
  const branchIds = isOneBranch ? turns.map(() => at(columns.branchIds, 0)) : columns.branchIds;
  agree(turns, { branchIds, userItems, createTimes });
  return turns.map((turn, position) => ({
    turn,
    branchId: at(branchIds, position),
    userItem: at(userItems, position),
    createTime: time(at(createTimes, position)),
  }));
}

/**
 * The items of a page of `getConversationByTurns`, row by row.
 *
 * @throws {@link TurntreeError} INTERNAL, when the columns do not agree.
 */
export function itemMetadataRows(columns: ItemMetadataColumns | undefined): ItemMetadataRow[] {
  if (columns === undefined) return [];
  const { turns, typeIndexes, toolIndexes, createTimes } = columns;
  agree(turns, { typeIndexes, toolIndexes, createTimes });
  return turns.map((turn, position) => ({
    type: name("types", columns.types, at(typeIndexes, position)),
    toolName: tool(columns.toolNames, at(toolIndexes, position)),
    turn,
    createTime: time(at(createTimes, position)),
  }));
}

/**
 * The counts of a page of `listToolUsage`, row by row.
 *
 * @throws {@link TurntreeError} INTERNAL, when the columns do not agree.
 */
export function toolUsageRows(columns: ToolUsageColumns | undefined): ToolUsageRow[] {
  if (columns === undefined) return [];
  const { turns, toolIndexes, callCounts } = columns;
  agree(turns, { toolIndexes, callCounts });
  return turns.map((turn, position) => ({
    toolName: tool(columns.toolNames, at(toolIndexes, position)),
    callCount: at(callCounts, position),
    turn,
  }));
}

/** Fails when a column has not one value for each of the turns. */
function agree(turns: readonly bigint[], columns: Record<string, readonly unknown[]>): void {
  for (const [column, { length }] of Object.entries(columns)) {
    if (length !== turns.length) throw malformed(`turns has ${turns.length} values and ${column} has ${length}`);
  }
}

/** The value at a position that there is, as `agree` saw. */
function at<T>(column: readonly T[], position: number): NonNullable<T> {
  return column[position] as NonNullable<T>;
}

function name(column: string, names: readonly string[], index: number): string {
  const name = names[index];
  if (name === undefined) throw malformed(`${column} has ${names.length} values and none at ${index}`);
  return name;
}

function tool(names: readonly string[], index: number): string | undefined {
  return index === NONE ? undefined : name("toolNames", names, index);
}

function time(seconds: bigint): Date {
  const time = new Date(Number(seconds) * 1000);
  if (Number.isNaN(time.getTime())) throw malformed(`createTimes has ${seconds}, which is no time`);
  return time;
}

function malformed(why: string): TurntreeError {
  return new TurntreeError("INTERNAL", ErrorReason.INTERNAL, `the columns do not agree: ${why}`);
}
