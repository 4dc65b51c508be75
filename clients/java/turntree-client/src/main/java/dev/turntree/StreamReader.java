package dev.turntree;

import dev.turntree.v1.DeltaKind;
import dev.turntree.v1.ItemsDelta;
import dev.turntree.v1.StreamItemsRequest;
import dev.turntree.v1.StreamItemsResponse;
import dev.turntree.v1.StreamTurnsRequest;
import dev.turntree.v1.StreamTurnsResponse;
import dev.turntree.v1.WatchRequest;
import dev.turntree.v1.WatchResponse;
import org.jspecify.annotations.Nullable;

/** What is known of a stream: enough to ask for the rest of it. */
abstract class StreamReader<Q, A> {
  /**
   * What a response is to the reader: what of it is to be given on, if anything, and whether it
   * brings it on.
   */
  record Taken<A>(@Nullable A response, boolean isNews, boolean isBroken) {}

  /** Asks for what was not read yet. */
  abstract Q request();

  abstract Taken<A> take(A response);

  /** What comes next is of a new stream. */
  void resume() {}

  /** Whether all was read, even if the end of the stream did not come. */
  boolean isComplete() {
    return false;
  }

  boolean isEndless() {
    return false;
  }

  static final class Items extends StreamReader<StreamItemsRequest, StreamItemsResponse> {
    private StreamItemsRequest request;
    private boolean more = true;

    Items(StreamItemsRequest request) {
      this.request = request;
    }

    @Override
    StreamItemsRequest request() {
      return request;
    }

    @Override
    Taken<StreamItemsResponse> take(StreamItemsResponse response) {
      ItemsDelta delta = response.getDelta();
      boolean isNews = !request.getCursor().equals(delta.getCursor());
      request =
          request.toBuilder().setCursor(delta.getCursor()).setBranch(delta.getBranch()).build();
      more = delta.getMore();
      return new Taken<>(response, isNews, false);
    }

    @Override
    boolean isComplete() {
      return !more;
    }
  }

  static final class Turns extends StreamReader<StreamTurnsRequest, StreamTurnsResponse> {
    private final SeenTurns seen = new SeenTurns();
    private StreamTurnsRequest request;

    Turns(StreamTurnsRequest request) {
      this.request = request;
    }

    @Override
    StreamTurnsRequest request() {
      return request;
    }

    @Override
    Taken<StreamTurnsResponse> take(StreamTurnsResponse response) {
      StreamTurnsResponse rest = seen.take(response);
      if (rest == null) {
        return new Taken<>(null, false, true);
      }
      boolean isNews = !request.getCursor().equals(rest.getCursor());
      request = request.toBuilder().setCursor(rest.getCursor()).setBranch(rest.getBranch()).build();
      return new Taken<>(rest, isNews, false);
    }

    @Override
    void resume() {
      seen.resume();
    }
  }

  static final class Watch extends StreamReader<WatchRequest, WatchResponse> {
    private WatchRequest request;
    private boolean isBegun;
    private boolean isResumed;

    Watch(WatchRequest request) {
      this.request = request;
    }

    @Override
    WatchRequest request() {
      return request;
    }

    @Override
    Taken<WatchResponse> take(WatchResponse response) {
      ItemsDelta delta = response.getDelta();
      boolean isKnown =
          isResumed
              && delta.getKind() == DeltaKind.DELTA_KIND_UNCHANGED
              && delta.getBranch().equals(request.getBranch());
      request =
          request.toBuilder().setCursor(delta.getCursor()).setBranch(delta.getBranch()).build();
      isBegun = true;
      isResumed = false;
      return new Taken<>(isKnown ? null : response, true, false);
    }

    @Override
    void resume() {
      isResumed = isBegun;
    }

    @Override
    boolean isEndless() {
      return true;
    }
  }
}
