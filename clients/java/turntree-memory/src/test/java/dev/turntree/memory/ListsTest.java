package dev.turntree.memory;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.protobuf.ByteString;
import dev.turntree.memory.Seen.Key;
import dev.turntree.memory.Seen.State;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.Random;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

class ListsTest {
  private static final Words WORDS = new Words();

  private static List<StoredItem> stored(String... items) {
    return Stream.of(items)
        .map(item -> new StoredItem(ByteString.copyFromUtf8(item), null))
        .toList();
  }

  private static List<String> read(List<StoredItem> items) {
    return Transcript.of(WORDS, items).messages().stream().map(Message::own).toList();
  }

  private static List<String> texts(List<StoredItem> items) {
    return items.stream().map(item -> item.item().toStringUtf8()).toList();
  }

  private static Change change(List<StoredItem> items, List<String> wanted) {
    return Change.to(WORDS, items, Message.all(WORDS, wanted));
  }

  private static List<String> merge(List<String> before, List<String> now, List<String> wanted) {
    var merged =
        Merge.of(Message.all(WORDS, before), Message.all(WORDS, now), Message.all(WORDS, wanted));
    return merged.stream().map(Message::own).toList();
  }

  /** A list that goes on is an append: nothing is removed, only what is new is added. */
  @Test
  void appends() {
    var items = stored(OtherProgram.user("1"), OtherProgram.reasoning("r"));
    var change = change(items, List.of("user 1", "assistant 2"));
    assertEquals(0, change.removed());
    assertEquals(1, change.added().size());
    assertTrue(change(items, List.of("user 1")).isNothing());
  }

  /**
   * A message that stays in the list stays byte for byte, with what is hidden before it; what is
   * hidden before one that goes, goes.
   */
  @Test
  void keepsBytes() {
    String[] history = {
      OtherProgram.user("1"),
      OtherProgram.reasoning("a"),
      OtherProgram.assistant("2"),
      OtherProgram.user("3"),
      OtherProgram.reasoning("b"),
      OtherProgram.assistant("4"),
      OtherProgram.reasoning("c")
    };
    var change = change(stored(history), List.of("user 1", "user 3", "assistant 4", "user 5"));
    assertEquals(6, change.removed());
    List<String> kept = List.of(history).subList(3, 7);
    assertEquals(kept, texts(change.added()).subList(0, 4));
    assertEquals(List.of("user 1", "user 3", "assistant 4", "user 5"), read(change.result()));
  }

  /** Whatever list follows whatever list, what is read afterwards is what was written. */
  @Test
  void anyListAfterAnyList() {
    long seed = new Random().nextLong();
    Random random = new Random(seed);
    List<StoredItem> items = new ArrayList<>();
    for (int step = 0; step < 2_000; step++) {
      if (random.nextInt(4) == 0) {
        items.addAll(stored(OtherProgram.reasoning("r"), OtherProgram.call("c", "t"), "[]"));
      }
      List<String> wanted = new ArrayList<>(read(items));
      while (!wanted.isEmpty() && random.nextInt(3) > 0) {
        wanted.remove(random.nextInt(wanted.size()));
      }
      for (int more = random.nextInt(3); more > 0; more--) {
        String word = List.of("user ", "assistant ", "other ").get(random.nextInt(3));
        wanted.add(random.nextInt(wanted.size() + 1), word + random.nextInt(5));
      }
      Change change = change(items, wanted);
      List<StoredItem> kept = items.subList(0, items.size() - change.removed());
      List<StoredItem> after = Stream.concat(kept.stream(), change.added().stream()).toList();
      assertEquals(wanted, read(after), "seed " + seed);
      assertEquals(after, change.result(), "seed " + seed);
      items = new ArrayList<>(after);
    }
  }

  /** Of two who wrote at once, what each added and removed holds; the faster one's comes first. */
  @Test
  void merges() {
    List<String> both = List.of("user 1", "assistant 2", "user 3");
    assertEquals(
        List.of("user 1", "assistant 2", "user 3", "theirs", "mine"),
        merge(
            both,
            List.of("user 1", "assistant 2", "user 3", "theirs"),
            List.of("user 1", "assistant 2", "user 3", "mine")));
    assertEquals(
        List.of("user 3", "theirs", "mine"),
        merge(both, List.of("assistant 2", "user 3", "theirs"), List.of("user 3", "mine")));
    assertEquals(
        List.of("theirs", "mine"),
        merge(both, List.of("theirs"), List.of("user 1", "assistant 2", "user 3", "mine")));
    assertEquals(List.of("theirs"), merge(both, List.of("theirs"), both));
    assertEquals(List.of("theirs", "mine"), merge(List.of(), List.of("theirs"), List.of("mine")));
  }

  /** A native form is read only while all items of its message are there. */
  @Test
  void cutMessages() {
    var draft = new Draft<>(new Calling(), List.of(), Transcript.of(new Calling(), List.of()));
    draft.add(Message.of(new Calling(), "two calls"));
    draft.add(Message.of(new Calling(), "two calls"));
    List<StoredItem> items = draft.items();
    assertEquals(4, items.size());
    assertEquals(2, Transcript.of(new Calling(), items).entries().size());
    var cut = Transcript.of(new Calling(), items.subList(0, 3)).messages();
    assertEquals(List.of("two calls", "plain"), cut.stream().map(Message::own).toList());
  }

  /** What was seen is bounded, and what was used last stays. */
  @Test
  void seenIsBounded() {
    Seen seen = new Seen();
    var large = ByteString.copyFrom(new byte[16 << 20]);
    for (int session = 0; session < 6; session++) {
      var state = new State(List.of(new StoredItem(large, null)), large);
      seen.put(new Key("s" + session, "main"), state);
      assertNotNull(seen.get(new Key("s0", "main")));
    }
    assertNull(seen.get(new Key("s1", "main")));
    assertNotNull(seen.get(new Key("s5", "main")));
    for (int session = 0; session <= Seen.CONVERSATIONS_MAX; session++) {
      seen.put(new Key("t" + session, "main"), State.NOTHING);
    }
    assertNull(seen.get(new Key("t0", "main")));
    assertNotNull(seen.get(new Key("t1", "main")));
  }

  /** A framework all of whose messages are two calls, which items alone do not tell. */
  private static final class Calling implements Dialect<String> {
    private final Words words = new Words();

    @Override
    public String name() {
      return words.name();
    }

    @Override
    public boolean joinsResults() {
      return true;
    }

    @Override
    public PlainMessage plain(String message) {
      var call = new PlainMessage.Call("c", "t", "{}");
      return new PlainMessage.Assistant(null, List.of(call, call));
    }

    @Override
    public Optional<String> message(PlainMessage plain) {
      return Optional.of("plain");
    }

    @Override
    public String json(String message) {
      return words.json(message);
    }

    @Override
    public String fromJson(String json) {
      return words.fromJson(json);
    }
  }
}
