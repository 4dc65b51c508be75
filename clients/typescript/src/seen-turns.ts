import type { StreamTurnsResponse } from "./gen/turntree/v1/turn_pb.js";

/**
 * Follows a stream of turns, and takes out of a resumed one what was seen before.
 *
 * A stream that resumes by cursor begins with a whole turn. When it was cut within that turn, the turn's first items have
 * been seen: the cursor still holds, and rows never change in place. Until they have all come again, the cursor stays the
 * one that the stream was resumed with, which says what the reader has.
 */
export class SeenTurns {
  #last: bigint | undefined;
  #itemCount = 0;
  #continued = false;
  #resumed = false;
  #skip = 0;
  #cursor: StreamTurnsResponse["cursor"] = new Uint8Array();

  /** Note that the stream was cut, and that what comes next is of a new one. */
  resume(): void {
    this.#resumed = this.#last !== undefined;
    this.#skip = this.#continued ? this.#itemCount : 0;
  }

  /** Leave what is new in a response; false when the stream cannot go on, because the turn that was last has changed. */
  take(response: StreamTurnsResponse): boolean {
    if (this.#resumed) {
      this.#resumed = false;
      const goesOn = response.turns.length > 0 && response.turns[0]?.turn === this.#last;
      if (!response.restarted && goesOn !== this.#continued) return false;
    }
    if (response.restarted) this.#skip = 0;
    this.#dropSeen(response);
    const last = response.turns.at(-1);
    if (last !== undefined) {
      const joins = this.#continued && response.turns.length === 1 && last.turn === this.#last && !response.restarted;
      this.#itemCount = last.items.length + (joins ? this.#itemCount : 0);
      this.#last = last.turn;
    }
    this.#continued = response.continued;
    if (this.#skip > 0) response.cursor = this.#cursor;
    this.#cursor = response.cursor;
    return true;
  }

  #dropSeen(response: StreamTurnsResponse): void {
    const first = response.turns[0];
    if (this.#skip === 0 || first === undefined) return;
    const skip = Math.min(this.#skip, first.items.length);
    this.#skip -= skip;
    first.items.splice(0, skip);
    first.metadata.splice(0, skip);
    first.natives = first.natives.filter((native) => native.index >= skip);
    for (const native of first.natives) native.index -= BigInt(skip);
    delete first.userItem;
    if (first.items.length === 0) response.turns.shift();
  }
}
