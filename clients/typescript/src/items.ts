/** An item as turntree keeps it: its JSON text in UTF-8. */
export function encodeItem(item: unknown): Uint8Array {
  const text = JSON.stringify(item) as string | undefined;
  if (text === undefined) throw new TypeError(`an item must be a value that JSON has, not ${typeof item}`);
  return new TextEncoder().encode(text);
}

/**
 * An item from its JSON text. Numbers beyond 2^53 lose digits in JavaScript; the bytes have them all.
 *
 * @throws SyntaxError, when it is not JSON; turntree takes no such item, but other software can write one to its database.
 */
export function decodeItem(bytes: Uint8Array): unknown {
  return JSON.parse(new TextDecoder().decode(bytes)) as unknown;
}
