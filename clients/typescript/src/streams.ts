import { create, type MessageInitShape } from "@bufbuild/protobuf";
import type { Calls } from "./calls.js";
import { isRetryable, TurntreeError } from "./errors.js";
import { ErrorReason } from "./gen/turntree/v1/error_reason_pb.js";
import { DeltaKind, ItemsDeltaSchema } from "./gen/turntree/v1/item_pb.js";
import type { BranchPointer } from "./gen/turntree/v1/item_pb.js";
import { SessionService } from "./gen/turntree/v1/session_pb.js";
import type {
  StreamItemsRequestSchema,
  StreamItemsResponse,
  WatchRequestSchema,
  WatchResponse,
} from "./gen/turntree/v1/session_pb.js";
import { TurnService } from "./gen/turntree/v1/turn_pb.js";
import type { StreamTurnsRequestSchema, StreamTurnsResponse } from "./gen/turntree/v1/turn_pb.js";
import type { Retries } from "./retries.js";
import { SeenTurns } from "./seen-turns.js";

const NOTHING = create(ItemsDeltaSchema);

/** Reads a branch of any length; goes on by cursor where a stream was cut. */
export async function* streamItems(
  calls: Calls,
  request: MessageInitShape<typeof StreamItemsRequestSchema>,
  signal: AbortSignal,
  retries: Retries,
): AsyncGenerator<StreamItemsResponse> {
  let place = placeOf(request);
  let more = true;
  for (;;) {
    try {
      const responses = calls.stream(SessionService.method.streamItems, { ...request, ...place }, signal);
      for await (const response of responses) {
        const delta = response.delta ?? NOTHING;
        if (!isAt(place, delta.cursor)) retries.heard();
        place = placeOf(delta);
        more = delta.more;
        yield response;
      }
      return;
    } catch (error) {
      const cut = lost(error);
      if (!more && isRetryable(cut)) return;
      await retries.pause(cut, signal);
    }
  }
}

/** Reads a branch turn by turn; goes on where a stream was cut, also within a turn. */
export async function* streamTurns(
  calls: Calls,
  request: MessageInitShape<typeof StreamTurnsRequestSchema>,
  signal: AbortSignal,
  retries: Retries,
): AsyncGenerator<StreamTurnsResponse> {
  const seen = new SeenTurns();
  let place = placeOf(request);
  let cut: TurntreeError | undefined;
  for (;;) {
    try {
      const responses = calls.stream(TurnService.method.streamTurns, { ...request, ...place }, signal);
      for await (const response of responses) {
        if (!seen.take(response)) {
          // The turn in which the stream was cut has changed: only the reader can begin anew.
          throw cut ?? new Error("a stream that was never cut is resumed");
        }
        if (!isAt(place, response.cursor)) retries.heard();
        place = placeOf(response);
        yield response;
      }
      return;
    } catch (error) {
      if (error === cut) throw error;
      cut = lost(error);
      await retries.pause(cut, signal);
      seen.resume();
    }
  }
}

/** Follows a branch; once it was reached, for ever. */
export async function* watch(
  calls: Calls,
  request: MessageInitShape<typeof WatchRequestSchema>,
  signal: AbortSignal,
  retries: Retries,
): AsyncGenerator<WatchResponse> {
  let place = placeOf(request);
  let isBegun = false;
  let isResumed = false;
  for (;;) {
    let cut: TurntreeError;
    try {
      const responses = calls.stream(SessionService.method.watch, { ...request, ...place }, signal);
      for await (const response of responses) {
        const delta = response.delta ?? NOTHING;
        retries.heard();
        retries.persist();
        const isNews = !isResumed || delta.kind !== DeltaKind.UNCHANGED || !isSame(delta.branch, place.branch);
        place = placeOf(delta);
        isBegun = true;
        isResumed = false;
        if (isNews) yield response;
      }
      throw new TurntreeError("UNAVAILABLE", ErrorReason.SERVER_STOPPING, "the server ended the watch");
    } catch (error) {
      cut = lost(error);
    }
    await retries.pause(cut, signal);
    isResumed = isBegun;
  }
}

/** What a reader has: the branch, and the cursor of what it read of it. */
interface Place {
  branch?: BranchPointer;
  cursor?: Uint8Array;
}

function placeOf(message: object): Place {
  const { branch, cursor } = message as Place;
  return { ...(branch && { branch }), ...(cursor && { cursor }) };
}

function isAt(place: Place, cursor: Uint8Array): boolean {
  return place.cursor !== undefined && Buffer.compare(place.cursor, cursor) === 0;
}

function isSame(one: BranchPointer | undefined, other: BranchPointer | undefined): boolean {
  return one?.branchId === other?.branchId && one?.generation === other?.generation;
}

function lost(error: unknown): TurntreeError {
  if (error instanceof TurntreeError) return error;
  throw error;
}
