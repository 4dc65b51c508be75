package dev.turntree.memory;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;

import dev.turntree.TurntreeClient;
import dev.turntree.TurntreeException;
import dev.turntree.testing.Server;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** A change whose answer never came, so that nobody knows whether it was made. */
class LostAnswerTest {
  private static final List<String> WANTED = List.of("user 1", "assistant 2", "assistant 2");

  /**
   * A list whose change was made although its answer was lost can be written again: nothing is
   * there twice, and what another program has added since stays.
   */
  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void writtenAgain(boolean isFollowed) throws Exception {
    try (var server = Server.start();
        var relay = new Relay(server.address());
        var direct = TurntreeClient.connect(server.address());
        var client =
            TurntreeClient.builder(relay.address()).retryFor(Duration.ofMillis(1)).build()) {
      var conversations = new Conversations<>(client, new Words());
      var other = new OtherProgram(direct, "s");
      conversations.write("s", List.of("user 1"));

      relay.holdAnswers();
      var lost = CompletableFuture.runAsync(() -> conversations.write("s", WANTED));
      while (other.items().size() < WANTED.size()) {
        Thread.sleep(10);
      }
      relay.cut();
      var error = assertThrows(CompletionException.class, lost::join);
      assertInstanceOf(TurntreeException.class, error.getCause());
      if (isFollowed) {
        other.add(OtherProgram.user("3"));
      }

      List<String> wanted = List.of("user 1", "assistant 2", "assistant 2", "user 4");
      writeAgain(conversations, wanted);
      List<String> expected =
          isFollowed ? List.of("user 1", "assistant 2", "assistant 2", "user 3", "user 4") : wanted;
      assertEquals(expected, conversations.read("s"));
    }
  }

  /** A list whose change was not made is written by the next try. */
  @Test
  void notMade() throws Exception {
    try (var server = Server.start();
        var relay = new Relay(server.address());
        var client =
            TurntreeClient.builder(relay.address()).retryFor(Duration.ofMillis(1)).build()) {
      var conversations = new Conversations<>(client, new Words());
      conversations.write("s", List.of("user 1"));
      server.kill();
      assertThrows(TurntreeException.class, () -> conversations.write("s", WANTED));
      server.startAgain();
      writeAgain(conversations, WANTED);
      assertEquals(WANTED, conversations.read("s"));
    }
  }

  private static void writeAgain(Conversations<String> conversations, List<String> wanted)
      throws InterruptedException {
    for (int tries = 1; ; tries++) {
      try {
        conversations.write("s", wanted);
        return;
      } catch (TurntreeException unreachable) {
        if (tries == 100) {
          throw unreachable;
        }
        Thread.sleep(100);
      }
    }
  }
}
