/**
 * The client of turntree: session memory for AI agents, served over gRPC.
 *
 * @packageDocumentation
 */
export { TurntreeClient } from "./client.js";
export type { Method, RequestOf, StreamOptions } from "./client.js";
export type { CallOptions, ClientOptions } from "./calls.js";
export { TurntreeError } from "./errors.js";
export type { ErrorCode } from "./errors.js";
export { decodeItem, encodeItem } from "./items.js";
export { pages } from "./pages.js";
export { itemMetadataRows, toolUsageRows, turnRows } from "./rows.js";
export type { ItemMetadataRow, ToolUsageRow, TurnRow } from "./rows.js";
export { SessionHandle } from "./session-handle.js";
export type { Pointer, Within } from "./session-handle.js";
export type { Token } from "./token.js";
export * from "./gen/turntree/v1/branch_pb.js";
export * from "./gen/turntree/v1/error_reason_pb.js";
export * from "./gen/turntree/v1/item_pb.js";
export * from "./gen/turntree/v1/session_pb.js";
export * from "./gen/turntree/v1/turn_pb.js";
export * from "./gen/turntree/v1/usage_pb.js";
