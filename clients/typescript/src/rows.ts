import type { ItemMetadataColumns, ToolUsageColumns, TurnColumns } from "./gen/turntree/v1/turn_pb.js";

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

/** The turns of a page of `listTurns` or `searchTurns`, row by row. */
export function turnRows(columns: TurnColumns | undefined): TurnRow[] {
  if (columns === undefined) return [];
  const { branchIds } = columns;
  return columns.turns.map((turn, position) => ({
    turn,
    branchId: at(branchIds, branchIds.length === 1 ? 0 : position),
    userItem: at(columns.userItems, position),
    createTime: time(at(columns.createTimes, position)),
  }));
}

/** The items of a page of `getConversationByTurns`, row by row. */
export function itemMetadataRows(columns: ItemMetadataColumns | undefined): ItemMetadataRow[] {
  if (columns === undefined) return [];
  return columns.turns.map((turn, position) => ({
    type: at(columns.types, at(columns.typeIndexes, position)),
    toolName: columns.toolNames[at(columns.toolIndexes, position)],
    turn,
    createTime: time(at(columns.createTimes, position)),
  }));
}

/** The counts of a page of `listToolUsage`, row by row. */
export function toolUsageRows(columns: ToolUsageColumns | undefined): ToolUsageRow[] {
  if (columns === undefined) return [];
  return columns.turns.map((turn, position) => ({
    toolName: columns.toolNames[at(columns.toolIndexes, position)],
    callCount: at(columns.callCounts, position),
    turn,
  }));
}

function at<T>(column: readonly T[], position: number): T {
  const value = column[position];
  if (value === undefined) throw new RangeError(`a column of ${column.length} has no position ${position}`);
  return value;
}

function time(seconds: bigint): Date {
  return new Date(Number(seconds) * 1000);
}
