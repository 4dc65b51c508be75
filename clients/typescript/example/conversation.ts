// A conversation stored, branched, followed and accounted for: `node build/example/conversation.js [ADDRESS]`.
import { decodeItem, encodeItem, pages, TurntreeClient, turnRows } from "turntree";

const address = process.argv[2] ?? "localhost:50051";
const sessionId = `weekend in Lisbon ${new Date().toISOString()}`;

await using client = new TurntreeClient(address);
const session = client.session(sessionId);

// Somebody follows the conversation, on a connection of their own.
await using onlooker = new TurntreeClient(address);
const following = follow();

await tell("How will the weather be in Lisbon?", "Sunny, 24 degrees.", 40n);
await tell("Find me a hotel by the river.", "The Tejo, 140 euros a night.", 70n);

// What if? `main` stays as it is.
await session.createBranch({ origin: { case: "turn", value: 2n }, newBranchId: "cheaper" });
await tell("Find me a cheap hotel.", "The Alfama, 60 euros a night.", 65n);

for await (const page of pages(session.listBranches, {})) {
  for (const { branchId, itemCount } of page.branches) console.log(`${branchId} has ${itemCount} items`);
}
for (const { turn, userItem } of turnRows((await session.listTurns({})).turns)) {
  console.log(`turn ${turn} of cheaper: ${text(userItem)}`);
}
const { total } = await client.getSessionUsage({ sessionId });
console.log(`${total?.totalTokens ?? 0n} tokens in ${total?.turnCount ?? 0n} turns`);
await following;

async function tell(question: string, answer: string, tokens: bigint): Promise<void> {
  await session.addItems({
    items: [encodeItem({ role: "user", content: question }), encodeItem({ role: "assistant", content: answer })],
  });
  await session.recordUsage({ usage: { requests: 1n, inputTokens: tokens, totalTokens: tokens } });
}

async function follow(): Promise<void> {
  let count = 0;
  for await (const { delta } of onlooker.watch({ sessionId })) {
    for (const item of delta?.items ?? []) console.log(`main now says: ${text(item)}`);
    count += delta?.items.length ?? 0;
    if (count === 4) return;
  }
}

function text(item: Uint8Array): string {
  return (decodeItem(item) as { content: string }).content;
}
