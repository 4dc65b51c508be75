package dev.turntree;

import static org.junit.jupiter.api.Assertions.assertEquals;

import com.google.protobuf.ByteString;
import dev.turntree.v1.ItemMetadata;
import dev.turntree.v1.StreamTurnsResponse;
import dev.turntree.v1.Turn;
import java.util.Objects;
import org.junit.jupiter.api.Test;

class SeenTurnsTest {
  private static StreamTurnsResponse part(String cursor, boolean continued, String... items) {
    var turn = Turn.newBuilder().setTurn(1);
    for (String item : items) {
      turn.addItems(ByteString.copyFromUtf8(item)).addMetadata(ItemMetadata.getDefaultInstance());
    }
    return StreamTurnsResponse.newBuilder()
        .addTurns(turn)
        .setContinued(continued)
        .setCursor(ByteString.copyFromUtf8(cursor))
        .build();
  }

  /** Until all that was seen has come again, the cursor stays the one that says what it was. */
  @Test
  void cursorOfWhatWasSeen() {
    var seen = new SeenTurns();
    seen.take(part("abc", true, "a", "b", "c"));
    for (int cut = 0; cut < 2; cut++) {
      seen.resume();
      var again = Objects.requireNonNull(seen.take(part("a", true, "a")));
      assertEquals("abc", again.getCursor().toStringUtf8());
    }
    var rest = Objects.requireNonNull(seen.take(part("abcd", false, "b", "c", "d")));
    assertEquals("abcd", rest.getCursor().toStringUtf8());
    assertEquals("d", rest.getTurns(0).getItems(0).toStringUtf8());
  }
}
