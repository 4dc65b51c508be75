/**
 * turntree for the OpenAI Agents SDK: {@link TurntreeSession} is a `Session` that is kept on a turntree server.
 *
 * @packageDocumentation
 */
export { TurntreeSession } from "./session.js";
export type { ItemsQuery } from "./history.js";
export type { TurntreeSessionOptions } from "./session.js";
export type {
  BranchInfo,
  Change,
  ConversationTurn,
  FoundTurn,
  ItemOutline,
  RunWithUsage,
  SessionUsage,
  StreamedTurn,
  ToolCount,
  TurnUsageInfo,
} from "./shapes.js";
