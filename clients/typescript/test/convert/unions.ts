/** The unions that the converter covers, by name, for the compiler to look up. */

import type { AgentInputItem } from "@openai/agents";
import type { ResponseInputItem, ResponseOutputItem } from "openai/resources/responses/responses";

/** An item of the Agents SDK for JavaScript. */
export type JsItem = AgentInputItem;

/** An item that the Responses API takes. */
export type InputItem = ResponseInputItem;

/** An item that the Responses API makes. */
export type OutputItem = ResponseOutputItem;
