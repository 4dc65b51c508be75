import { once } from "node:events";
import { createServer, type ServerHttp2Session } from "node:http2";
import type { AddressInfo } from "node:net";
import { after } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import {
  PipelineService,
  type PipelineCall,
  type PipelineReplySchema,
  type PipelineResponseSchema,
} from "#turntree/gen/turntree/v1/pipeline_pb.js";
import { SessionService } from "turntree";

type Reply = MessageInitShape<typeof PipelineReplySchema>;
type Responses = AsyncGenerator<MessageInitShape<typeof PipelineResponseSchema>>;

/** What came on one stream of calls. */
export interface Stream {
  readonly token: string | null;
  readonly messages: PipelineCall[][];
}

/** A server that does with a stream of calls what a test tells it. */
export class PipelineServer {
  /** The streams that were opened. */
  streams: Stream[] = [];

  /** How many unary calls came. */
  unary = 0;

  /** Answers the calls of a message. */
  serve: (calls: PipelineCall[], stream: Stream) => Responses = answers;

  private constructor(readonly address: string) {}

  /** Start a server for the tests of a file; it ends with them. */
  static async start(): Promise<PipelineServer> {
    const sessions = new Set<ServerHttp2Session>();
    const listener = createServer(
      connectNodeAdapter({
        routes: (router) => {
          router.service(PipelineService, { pipeline: (requests, context) => server.#read(requests, context) });
          router.service(SessionService, { addItems: () => ({ turn: BigInt(++server.unary) }), watch });
        },
      }),
    );
    listener.on("session", (session) => {
      sessions.add(session);
      session.on("close", () => sessions.delete(session));
    });
    listener.listen(0, "127.0.0.1");
    await once(listener, "listening");
    const server = new PipelineServer(`127.0.0.1:${(listener.address() as AddressInfo).port}`);
    after(() => {
      for (const session of sessions) session.destroy();
      listener.close();
    });
    return server;
  }

  /** Begin anew, with other answers. */
  script(serve: (calls: PipelineCall[], stream: Stream) => Responses = answers): void {
    this.streams = [];
    this.unary = 0;
    this.serve = serve;
  }

  async *#read(
    requests: AsyncIterable<{ calls: PipelineCall[] }>,
    { requestHeader }: { requestHeader: Headers },
  ): Responses {
    const stream: Stream = { token: requestHeader.get("authorization"), messages: [] };
    this.streams.push(stream);
    for await (const { calls } of requests) {
      stream.messages.push(calls);
      yield* this.serve(calls, stream);
    }
  }
}

async function* watch(): AsyncGenerator<{ delta: { more: boolean } }> {
  await sleep(500);
  yield { delta: { more: false } };
}

/** Says of every call that it was done. */
export async function* answers(calls: PipelineCall[]): Responses {
  yield await Promise.resolve({ replies: calls.map(answer) });
}

/** Says of a call that it was done. */
export function answer({ callId, request }: PipelineCall): Reply {
  return { callId, response: { case: request.case, value: {} } as NonNullable<Reply["response"]> };
}
