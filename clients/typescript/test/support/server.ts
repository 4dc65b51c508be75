import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync, readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { Readable } from "node:stream";
import { after } from "node:test";

const STARTED_WITHIN_MS = 30_000;
const COMMAND = process.env.TURNTREE ?? "turntree";

/** A running `turntree serve` on a database file of its own. */
export class Server {
  readonly folder: string;
  readonly #options: readonly string[];
  #process: ChildProcess | undefined;
  #address = "127.0.0.1:0";

  private constructor(folder: string, options: readonly string[]) {
    this.folder = folder;
    this.#options = options;
  }

  /** Start a server for the tests of a file; it ends with them. */
  static async start(
    options: (folder: string) => readonly string[] | Promise<readonly string[]> = () => [],
  ): Promise<Server> {
    const folder = await mkdtemp(join(tmpdir(), "turntree-"));
    const server = new Server(folder, await options(folder));
    after(async () => {
      await server.kill();
      await rm(folder, { recursive: true });
    });
    await server.startAgain();
    return server;
  }

  /** `HOST:PORT` where it listens, also after it was started again. */
  get address(): string {
    return this.#address;
  }

  /** Start it again, after it was killed. */
  async startAgain(): Promise<void> {
    const db = join(this.folder, "conversations.db");
    const log = join(this.folder, "server.log");
    const logged = openSync(log, "a");
    const process = spawn(COMMAND, ["serve", "--db", db, "--listen", this.#address, ...this.#options], {
      stdio: ["ignore", "pipe", logged],
    });
    closeSync(logged);
    this.#process = process;
    const lines = createInterface(process.stdout ?? Readable.from([]));
    const signal = AbortSignal.timeout(STARTED_WITHIN_MS);
    const [line] = (await Promise.race([once(lines, "line", { signal }), once(lines, "close")])) as [string?];
    const address = /^turntree \S+ listening on (\S+)/.exec(line ?? "")?.[1];
    if (address === undefined)
      throw new Error(`the server announced '${line ?? ""}' and logged: ${readFileSync(log, "utf8")}`);
    this.#address = address;
  }

  /** End it as a crash would. */
  async kill(): Promise<void> {
    const process = this.#process;
    this.#process = undefined;
    if (process?.exitCode !== null) return;
    process.kill("SIGKILL");
    await once(process, "exit");
  }
}
