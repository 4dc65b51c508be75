package dev.turntree;

import com.google.protobuf.ByteString;
import dev.turntree.v1.NativeItem;
import dev.turntree.v1.StreamTurnsResponse;
import dev.turntree.v1.Turn;
import org.jspecify.annotations.Nullable;

/**
 * Follows a stream of turns, and takes out of a resumed one what was seen before.
 *
 * <p>A stream that resumes by cursor begins with a whole turn. When it was cut within that turn,
 * the turn's first items have been seen: the cursor still holds, and rows never change in place.
 * Until they have all come again, the cursor stays the one that the stream was resumed with, which
 * says what the reader has.
 */
final class SeenTurns {
  private static final long NONE = -1;
  private long last = NONE;
  private int itemCount;
  private boolean isContinued;
  private boolean isResumed;
  private int skip;
  private ByteString cursor = ByteString.EMPTY;

  void resume() {
    isResumed = last != NONE;
    skip = isContinued ? itemCount : 0;
  }

  /**
   * What is new in a response; null when the stream cannot go on, because its last turn has
   * changed.
   */
  @Nullable StreamTurnsResponse take(StreamTurnsResponse response) {
    if (isResumed) {
      isResumed = false;
      boolean goesOn = response.getTurnsCount() > 0 && response.getTurns(0).getTurn() == last;
      if (!response.getRestarted() && goesOn != isContinued) {
        return null;
      }
    }
    if (response.getRestarted()) {
      skip = 0;
    }
    StreamTurnsResponse rest = withoutSeen(response);
    if (rest.getTurnsCount() > 0) {
      Turn newest = rest.getTurns(rest.getTurnsCount() - 1);
      boolean joins =
          isContinued
              && rest.getTurnsCount() == 1
              && newest.getTurn() == last
              && !rest.getRestarted();
      itemCount = newest.getItemsCount() + (joins ? itemCount : 0);
      last = newest.getTurn();
    }
    isContinued = rest.getContinued();
    if (skip > 0) {
      return rest.toBuilder().setCursor(cursor).build();
    }
    cursor = rest.getCursor();
    return rest;
  }

  private StreamTurnsResponse withoutSeen(StreamTurnsResponse response) {
    if (skip == 0 || response.getTurnsCount() == 0) {
      return response;
    }
    Turn first = response.getTurns(0);
    int skipped = Math.min(skip, first.getItemsCount());
    skip -= skipped;
    var whole = response.toBuilder();
    if (skipped == first.getItemsCount()) {
      return whole.removeTurns(0).build();
    }
    var rest = first.toBuilder().clearUserItem().clearItems().clearMetadata().clearNatives();
    rest.addAllItems(first.getItemsList().subList(skipped, first.getItemsCount()));
    rest.addAllMetadata(first.getMetadataList().subList(skipped, first.getMetadataCount()));
    for (NativeItem form : first.getNativesList()) {
      if (form.getIndex() >= skipped) {
        rest.addNatives(form.toBuilder().setIndex(form.getIndex() - skipped));
      }
    }
    return whole.setTurns(0, rest).build();
  }
}
