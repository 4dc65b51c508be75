import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { after } from "node:test";

/** A network between a client and a server that can be made to fail. */
export class Proxy {
  /** Whether what the server says is lost. */
  isDeaf = false;

  /** How many connections were made through it. */
  connections = 0;

  readonly #open = new Set<Socket>();
  readonly #silent = new Set<Socket>();
  #address = "";

  /** Put a proxy before the server at an address; it ends with the tests of the file. */
  static async start(target: () => string): Promise<Proxy> {
    const proxy = new Proxy();
    const listener = createServer((client) => {
      proxy.connections += 1;
      const [host, port] = target().split(":") as [string, string];
      const server = connect(Number(port), host);
      for (const [from, to] of [
        [client, server],
        [server, client],
      ] as const) {
        proxy.#open.add(from);
        from.on("data", (data) => {
          if (!proxy.#silent.has(from) && (from === client || !proxy.isDeaf)) to.write(data);
        });
        from.on("error", () => to.destroy());
        from.on("close", () => {
          proxy.#open.delete(from);
          if (!proxy.#silent.has(from)) to.destroy();
        });
      }
    });
    listener.listen(0, "127.0.0.1");
    await once(listener, "listening");
    proxy.#address = `127.0.0.1:${(listener.address() as AddressInfo).port}`;
    after(() => {
      proxy.cut();
      listener.close();
    });
    return proxy;
  }

  /** `HOST:PORT` for the client. */
  get address(): string {
    return this.#address;
  }

  /** Lose all that is said on the connections that are open, without a word. */
  silence(): void {
    for (const socket of this.#open) this.#silent.add(socket);
  }

  /** Break every connection. */
  cut(): void {
    for (const socket of this.#open) socket.destroy();
  }
}
