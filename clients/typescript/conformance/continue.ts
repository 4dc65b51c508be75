// An agent of the OpenAI Agents SDK takes over a conversation that an agent in another language began; see
// tests/conformance/README.md.
import { Agent, type AgentInputItem, run, setTracingDisabled, tool } from "@openai/agents";
import { TurntreeSession } from "turntree/openai-agents";
import { z } from "zod";
import { calls, says, ScriptedModel } from "../test/support/model.js";

const [url, sessionId] = process.argv.slice(2);
if (url === undefined || sessionId === undefined) throw new Error("usage: continue URL SESSION_ID");
setTracingDisabled(true);

const findHotel = tool({
  name: "find_hotel",
  description: "Find a hotel.",
  parameters: z.object({ city: z.string() }),
  execute: ({ city }) => `Hotel Tejo in ${city}`,
});
const script = new ScriptedModel(
  [calls("find_hotel", "call of typescript", { city: "Lisbon" })],
  [says("Take the Hotel Tejo \u{1F333}")],
  [says("Then stay at home.")],
);
const agent = new Agent({ name: "Concierge in TypeScript", model: script, tools: [findHotel] });

await using session = new TurntreeSession(sessionId, { url });
const found = (await session.getItems()).length;
const turn = (await session.getConversationTurns()).length + 1;

await session.storeRunUsage(await run(agent, "Find me a hotel.", { session }));
await session.createBranchFromTurn(turn, "typescript");
await session.storeRunUsage(await run(agent, "What if it rains?", { session }));

const model_saw = script.requests.map(({ input }) => (input as AgentInputItem[]).length);
const tools = (await session.getToolUsage("main")).map(({ toolName, callCount, turn }) => [toolName, callCount, turn]);
const usage = (await session.getTurnUsage(undefined, "main")).map(({ turn, totalTokens }) => [turn, totalTokens]);
console.log(JSON.stringify({ found, model_saw, tools, usage }));
