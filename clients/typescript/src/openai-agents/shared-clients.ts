import { TurntreeClient } from "../client.js";

interface Shared {
  client: TurntreeClient;
  users: number;
}

const shared = new Map<string, Shared>();

/** The client of a URL, which all sessions of the process that name it share until the last one gives it back. */
export function acquire(url: string): TurntreeClient {
  const entry = shared.get(url) ?? { client: new TurntreeClient(url), users: 0 };
  entry.users += 1;
  shared.set(url, entry);
  return entry.client;
}

/** Give a client back; the last one closes it. */
export function release(url: string): void {
  const entry = shared.get(url);
  if (entry === undefined) return;
  entry.users -= 1;
  if (entry.users > 0) return;
  shared.delete(url);
  entry.client.close();
}
