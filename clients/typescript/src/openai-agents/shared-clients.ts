import { TurntreeClient } from "../client.js";
import type { Token } from "../token.js";

interface Shared {
  readonly url: string;
  readonly token: Token | undefined;
  readonly client: TurntreeClient;
  users: number;
}

let shared: readonly Shared[] = [];

/** The client that all sessions of the process share that name the same URL and token, until the last one gives it back. */
export function acquire(url: string, token: Token | undefined): TurntreeClient {
  let entry = shared.find((one) => one.url === url && one.token === token);
  if (entry === undefined) {
    const client = new TurntreeClient(url, token === undefined ? {} : { token });
    entry = { url, token, client, users: 0 };
    shared = [...shared, entry];
  }
  entry.users += 1;
  return entry.client;
}

/** Give a client back; the last one closes it. */
export function release(client: TurntreeClient): void {
  const entry = shared.find((one) => one.client === client);
  if (entry === undefined) return;
  entry.users -= 1;
  if (entry.users > 0) return;
  shared = shared.filter((one) => one !== entry);
  client.close();
}
