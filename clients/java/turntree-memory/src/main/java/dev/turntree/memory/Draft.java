package dev.turntree.memory;

import com.google.protobuf.ByteString;
import dev.turntree.memory.Transcript.Entry;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/**
 * The items of a list of messages while it is put together: items that are kept byte for byte, and
 * items of new messages. Each message is read back where it stands; one that would not be read as
 * it is gets its own JSON beside its items, as native form.
 */
final class Draft<M> {
  private final Dialect<M> dialect;
  private final List<StoredItem> items;
  private Map<String, String> toolNames;
  private int tailFrom;

  /** Begins with items that stay, as they are read. */
  Draft(Dialect<M> dialect, List<StoredItem> staying, Transcript<M> read) {
    this.dialect = dialect;
    this.items = new ArrayList<>(staying);
    this.toolNames = read.toolNames();
    this.tailFrom = read.entries().isEmpty() ? 0 : last(read).from();
  }

  List<StoredItem> items() {
    return items;
  }

  /** The items of messages with their native forms: they are read as they are after anything. */
  static <M> List<StoredItem> withNatives(Dialect<M> dialect, List<? extends M> messages) {
    List<StoredItem> all = new ArrayList<>();
    messages.forEach(
        message -> all.addAll(withNative(items(dialect, message), 0, dialect.json(message))));
    return all;
  }

  /** Adds the items of a new message. */
  void add(Message<M> message) {
    put(message, items(dialect, message.own()), 0);
  }

  private static <M> List<StoredItem> items(Dialect<M> dialect, M message) {
    return Items.of(dialect.plain(message)).stream()
        .map(item -> new StoredItem(ByteString.copyFromUtf8(item.toString()), null))
        .toList();
  }

  /**
   * Adds the stored items of a message.
   *
   * @param before how many items stand before the message's own and go where it goes
   */
  void keep(Message<M> message, List<StoredItem> stored, int before) {
    put(message, stored, before);
  }

  private void put(Message<M> message, List<StoredItem> own, int before) {
    Transcript<M> read = readAfterTail(own);
    if (!isRead(read, message, before)) {
      own = withNative(own, before, dialect.json(message.own()));
      read = readAfterTail(own);
    }
    toolNames = read.toolNames();
    tailFrom = items.size() + before;
    items.addAll(own);
  }

  /** What items say after the last message that stands there already. */
  private Transcript<M> readAfterTail(List<StoredItem> own) {
    List<StoredItem> tail = new ArrayList<>(items.subList(tailFrom, items.size()));
    tail.addAll(own);
    return Transcript.of(dialect, tail, toolNames);
  }

  private boolean isRead(Transcript<M> read, Message<M> message, int before) {
    return !read.entries().isEmpty()
        && last(read).message().isSame(message)
        && last(read).from() == items.size() - tailFrom + before;
  }

  /** The same items with the JSON beside the first, and beside the others how many there are. */
  private static List<StoredItem> withNative(List<StoredItem> own, int before, String json) {
    List<StoredItem> all = new ArrayList<>(own.subList(0, before));
    String count = String.valueOf(own.size() - before);
    for (StoredItem item : own.subList(before, own.size())) {
      String form = all.size() == before ? json : count;
      all.add(new StoredItem(item.item(), ByteString.copyFromUtf8(form)));
    }
    return all;
  }

  private static <M> Entry<M> last(Transcript<M> read) {
    return read.entries().get(read.entries().size() - 1);
  }
}
