import { decodeItem, encodeItem } from "turntree";

/** All that a stream gives. */
export async function collect<T>(stream: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const one of stream) all.push(one);
  return all;
}

/** What a stream gives next. */
export async function next<T>(stream: AsyncIterator<T>): Promise<T> {
  const result = await stream.next();
  if (result.done === true) throw new Error("the stream ended");
  return result.value;
}

/** A message of a user or an assistant. */
export function message(role: "user" | "assistant", content: string): Uint8Array {
  return encodeItem({ role, content });
}

/** The contents of messages. */
export function contents(items: readonly Uint8Array[] | undefined): string[] {
  return (items ?? []).map((item) => (decodeItem(item) as { content: string }).content);
}
