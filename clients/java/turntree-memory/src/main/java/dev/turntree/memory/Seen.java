package dev.turntree.memory;

import com.google.protobuf.ByteString;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * What was last read or written of each conversation. It is what the next read asks to be told the
 * changes of, and what a write is a change of. Bounded: the conversations that were used last stay.
 */
final class Seen {
  static final int CONVERSATIONS_MAX = 1_000;
  static final long BYTES_MAX = 64L << 20;

  private final Map<Key, State> states = new LinkedHashMap<>(16, 0.75f, true);
  private long bytes;

  record Key(String sessionId, String branchId) {}

  /**
   * A branch at one moment.
   *
   * @param cursor names the moment; empty for what was never read
   * @param attempted what a change of it would have made, if nobody knows whether it was made; else
   *     empty
   */
  record State(List<StoredItem> items, ByteString cursor, List<StoredItem> attempted) {
    static final State NOTHING = new State(List.of(), ByteString.EMPTY);

    State(List<StoredItem> items, ByteString cursor) {
      this(items, cursor, List.of());
    }

    long bytes() {
      return bytes(items) + bytes(attempted);
    }

    private static long bytes(List<StoredItem> items) {
      return items.stream().mapToLong(StoredItem::bytes).sum();
    }

    /** What a writer who was at this state began with, as a later state shows. */
    State begunWith(State now) {
      int count = attempted.size();
      boolean isMade =
          count > 0 && count <= now.items.size() && attempted.equals(now.items.subList(0, count));
      return isMade ? new State(attempted, cursor) : this;
    }
  }

  synchronized @Nullable State get(Key key) {
    return states.get(key);
  }

  synchronized void put(Key key, State state) {
    remove(key);
    states.put(key, state);
    bytes += state.bytes();
    Iterator<State> oldest = states.values().iterator();
    while (states.size() > CONVERSATIONS_MAX || (bytes > BYTES_MAX && states.size() > 1)) {
      bytes -= oldest.next().bytes();
      oldest.remove();
    }
  }

  synchronized void remove(Key key) {
    State former = states.remove(key);
    bytes -= former == null ? 0 : former.bytes();
  }
}
