import type { ClientHttp2Session, ClientHttp2Stream } from "node:http2";
import { Code, ConnectError } from "@connectrpc/connect";
import { Http2SessionManager } from "@connectrpc/connect-node";

/** A connection that died without a word is noticed within five seconds, also by a watch that only listens. */
const PINGS = { pingIntervalMs: 3_000, pingTimeoutMs: 2_000 };

/** How long one try to connect may take; the network itself would try for minutes. */
const CONNECT_MS_MAX = 5_000;

type Request = Parameters<Http2SessionManager["request"]>;

/** The connection of a client: one session of HTTP/2, made by the first request and made again when it breaks. */
export class Connection extends Http2SessionManager {
  readonly #streams = new WeakMap<ClientHttp2Session, number>();

  constructor(baseUrl: string, options: ConstructorParameters<typeof Http2SessionManager>[2]) {
    super(baseUrl, PINGS, options);
  }

  /** Begin a stream, for which the process stays alive. */
  override async request(...request: Request): Promise<ClientHttp2Stream> {
    const { stream, session } = await this.#begin(request);
    const count = (change: number) => {
      const streams = (this.#streams.get(session) ?? 0) + change;
      this.#streams.set(session, streams);
      if (streams === 0) session.unref();
      else session.ref();
    };
    count(1);
    stream.once("close", () => count(-1));
    return stream;
  }

  /** Begin a stream that does not keep the process alive: whoever waits for something on it does. */
  async background(...request: Request): Promise<ClientHttp2Stream> {
    const { stream, session } = await this.#begin(request);
    if (!this.#streams.get(session)) session.unref();
    return stream;
  }

  async #begin(request: Request): Promise<{ stream: ClientHttp2Stream; session: ClientHttp2Session }> {
    const timer = setTimeout(() => this.#giveUp(), CONNECT_MS_MAX).unref();
    const stream = await super.request(...request).finally(() => clearTimeout(timer));
    // It has a session until it is closed, which is no sooner than in the next turn of the event loop.
    return { stream, session: stream.session as ClientHttp2Session };
  }

  #giveUp(): void {
    if (this.state() !== "connecting") return;
    this.abort(new ConnectError(`no connection in ${CONNECT_MS_MAX} ms`, Code.Unavailable));
  }
}
