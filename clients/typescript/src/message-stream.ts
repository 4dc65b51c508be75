// One bidirectional stream of gRPC, as bytes: what Connect's transport does too, without its chain of generators and
// promises for each message, and on a connection that lets the process end while the stream is idle.
import type { ClientHttp2Stream, IncomingHttpHeaders, IncomingHttpStatusHeader } from "node:http2";
import { Code, ConnectError, decodeBinaryHeader } from "@connectrpc/connect";
import type { Connection } from "./connection.js";
import { type Status, StatusSchema } from "./gen/google/rpc/status_pb.js";

const PREFIX_BYTES = 5;
const HTTP_OK = 200;
const CODES = Object.values(Code).filter((value) => typeof value === "number");
const CODE_BY_HTTP_STATUS = new Map([
  [401, Code.Unauthenticated],
  [403, Code.PermissionDenied],
  [404, Code.Unimplemented],
]);

/** What a stream tells its reader. */
export interface Reader {
  /** A message came. */
  message(bytes: Uint8Array): void;

  /** More can be written. */
  drained(): void;

  /** The stream is over, with an error unless the server ended it in good order; nothing is told after that. */
  ended(error: ConnectError | undefined): void;
}

type Head = IncomingHttpHeaders & IncomingHttpStatusHeader;

/** An open stream of messages. */
export class MessageStream {
  readonly #stream: ClientHttp2Stream;

  private constructor(stream: ClientHttp2Stream) {
    this.#stream = stream;
  }

  /** Open a stream by the path of its method. Fails with what HTTP/2 or the network says. */
  static async open(
    connection: Connection,
    path: string,
    headers: Record<string, string>,
    reader: Reader,
  ): Promise<MessageStream> {
    const grpc = { "content-type": "application/grpc+proto", te: "trailers" };
    const stream = await connection.background("POST", path, { ...headers, ...grpc }, {});
    const messages = new Messages((bytes) => reader.message(bytes));
    let head: Head = {};
    let trailers: IncomingHttpHeaders | undefined;
    let broken: Error | undefined;
    stream.on("response", (received: Head) => (head = received));
    stream.on("trailers", (received: IncomingHttpHeaders) => (trailers = received));
    stream.on("error", (error: Error) => (broken = error));
    stream.on("drain", () => reader.drained());
    stream.on("data", (chunk: Buffer) => {
      connection.notifyResponseByteRead(stream);
      try {
        messages.take(chunk);
      } catch (error) {
        stream.destroy(error as Error);
      }
    });
    stream.on("end", () => stream.end());
    stream.on("close", () => reader.ended(endOf(head, trailers ?? head, broken)));
    return new MessageStream(stream);
  }

  /** Send a message, given in pieces; false when the next one is to wait until the stream is drained. */
  write(pieces: readonly Uint8Array[]): boolean {
    if (!this.#stream.writable) return false; // it is about to end
    const prefix = Buffer.alloc(PREFIX_BYTES);
    const size = pieces.reduce((sum, piece) => sum + piece.length, 0);
    prefix.writeUInt32BE(size, 1);
    return this.#stream.write(Buffer.concat([prefix, ...pieces]));
  }
}

/** Puts messages together from what comes in. */
class Messages {
  readonly #told: (message: Uint8Array) => void;
  #chunks: Buffer[] = [];
  #size = 0;
  #wanted = PREFIX_BYTES;
  #isPrefix = true;

  constructor(told: (message: Uint8Array) => void) {
    this.#told = told;
  }

  take(chunk: Buffer): void {
    this.#chunks.push(chunk);
    this.#size += chunk.length;
    while (this.#size >= this.#wanted) {
      const [only] = this.#chunks;
      const all = this.#chunks.length === 1 && only !== undefined ? only : Buffer.concat(this.#chunks);
      const part = all.subarray(0, this.#wanted);
      const rest = all.subarray(this.#wanted);
      this.#chunks = rest.length > 0 ? [rest] : [];
      this.#size = rest.length;
      this.#isPrefix = !this.#isPrefix;
      if (this.#isPrefix) {
        this.#wanted = PREFIX_BYTES;
        this.#told(new Uint8Array(part.buffer, part.byteOffset, part.length));
      } else {
        if (part[0] !== 0) throw new ConnectError("a message is compressed, which was not asked for", Code.Internal);
        this.#wanted = part.readUInt32BE(1);
      }
    }
  }
}

/** The error of a status, with its details. */
export function errorOf(status: Status): ConnectError {
  const error = new ConnectError(status.message, codeOf(status.code));
  error.details = status.details.map(({ typeUrl, value }) => ({
    type: typeUrl.slice(typeUrl.lastIndexOf("/") + 1),
    value,
  }));
  return error;
}

function codeOf(number: number): Code {
  return CODES[number - 1] ?? Code.Unknown;
}

/** How a stream ended: by its trailers, or by the headers when there was no message; without any of these it broke. */
function endOf(head: Head, trailers: IncomingHttpHeaders, broken: Error | undefined): ConnectError | undefined {
  const httpStatus = head[":status"] ?? HTTP_OK;
  if (httpStatus !== HTTP_OK) {
    return new ConnectError(`HTTP ${httpStatus}`, CODE_BY_HTTP_STATUS.get(httpStatus) ?? Code.Unavailable);
  }
  const { "grpc-status": status, "grpc-status-details-bin": details, "grpc-message": message } = trailers;
  if (status === undefined) return ConnectError.from(broken ?? "the stream was cut");
  if (status === "0") return undefined;
  try {
    if (typeof details === "string") return errorOf(decodeBinaryHeader(details, StatusSchema));
    return new ConnectError(decodeURIComponent(String(message ?? "")), codeOf(Number(status)));
  } catch (error) {
    return ConnectError.from(error);
  }
}
