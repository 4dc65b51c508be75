package dev.turntree.example;

import com.google.protobuf.ByteString;
import dev.turntree.TurntreeClient;
import dev.turntree.TurntreeSession;
import dev.turntree.v1.GetSessionUsageRequest;
import dev.turntree.v1.Turn;
import dev.turntree.v1.Usage;
import java.io.PrintStream;
import java.util.UUID;

/** A conversation stored, branched, streamed and accounted for. */
public final class Conversation {
  private Conversation() {}

  /** Runs with the address of a server, {@code localhost:50051} if there is none. */
  public static void main(String[] arguments) {
    run(arguments.length > 0 ? arguments[0] : "localhost:50051", System.out);
  }

  static void run(String address, PrintStream out) {
    try (TurntreeClient client = TurntreeClient.connect(address)) {
      TurntreeSession session = client.session("example-" + UUID.randomUUID());
      session.addItems(
          "{\"role\": \"user\", \"content\": \"What city is the Golden Gate Bridge in?\"}",
          "{\"role\": \"assistant\", \"content\": \"San Francisco\"}");
      session.recordUsage(Usage.newBuilder().setRequests(1).setTotalTokens(53).build());
      session.addItems("{\"role\": \"user\", \"content\": \"What state is it in?\"}");
      session.branchBefore(2, "history");
      session.addItems("{\"role\": \"user\", \"content\": \"When was it built?\"}");

      try (var parts = session.streamTurns()) {
        while (parts.hasNext()) {
          for (Turn turn : parts.next().getTurnsList()) {
            out.println("turn " + turn.getTurn() + " has " + turn.getItemsCount() + " items");
          }
        }
      }
      for (ByteString item : session.items()) {
        out.println(item.toStringUtf8());
      }
      var asked = GetSessionUsageRequest.newBuilder().setSessionId(session.sessionId()).build();
      var total = client.getSessionUsage(asked).getTotal();
      out.println(total.getTotalTokens() + " tokens in " + total.getTurnCount() + " turns");
    }
  }
}
