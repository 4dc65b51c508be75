package dev.turntree.conformance;

import static java.util.Objects.requireNonNull;

import com.google.gson.JsonArray;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import com.google.protobuf.ByteString;
import dev.turntree.TurntreeClient;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.function.Consumer;

/**
 * Measures turns through the client and the same bytes through a bare echo, by grpc-java as well:
 * {@code bench TURNTREE_URL ECHO_URL}. What it reads and prints is told in
 * benchmarks/rows/languages.py.
 */
public final class Bench {
  private static final int SESSIONS = 64;
  private static final Map<String, Consumer<BenchSession>> SIDES =
      Map.of("turns", BenchSession::turn, "echo", BenchSession::echoTurn);

  private Bench() {}

  /** Measures whenever it is told to. */
  public static void main(String[] arguments) throws IOException {
    var input = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    List<List<ByteString>> turns = readTurns(requireNonNull(input.readLine()));
    ExecutorService threads = Executors.newFixedThreadPool(SESSIONS);
    try (TurntreeClient client = TurntreeClient.connect(arguments[0]);
        Echo echo = new Echo(arguments[1])) {
      String name = "bench-" + UUID.randomUUID() + "-";
      List<BenchSession> sessions = new ArrayList<>();
      for (int number = 0; number < SESSIONS; number++) {
        sessions.add(new BenchSession(client, echo, name + number, turns));
      }
      for (String line = input.readLine(); line != null; line = input.readLine()) {
        String[] words = line.split(" ", -1);
        List<BenchSession> some = sessions.subList(0, Integer.parseInt(words[1]));
        System.out.println(
            measure(
                requireNonNull(SIDES.get(words[0])), some, Double.parseDouble(words[2]), threads));
      }
    } finally {
      threads.shutdown();
    }
  }

  /** Lets sessions make turns for a while, each one after another. */
  private static JsonObject measure(
      Consumer<BenchSession> turn,
      List<BenchSession> sessions,
      double seconds,
      ExecutorService threads) {
    long start = System.nanoTime();
    List<CompletableFuture<List<Double>>> working = new ArrayList<>();
    for (BenchSession session : sessions) {
      working.add(
          CompletableFuture.supplyAsync(
              () -> {
                List<Double> latencies = new ArrayList<>();
                for (long begin = start; begin - start < seconds * 1e9; ) {
                  turn.accept(session);
                  long end = System.nanoTime();
                  latencies.add((end - begin) / 1e6);
                  begin = end;
                }
                return latencies;
              },
              threads));
    }
    JsonArray latencies = new JsonArray();
    working.forEach(work -> work.join().forEach(latencies::add));
    JsonObject measured = new JsonObject();
    measured.addProperty("elapsed_s", (System.nanoTime() - start) / 1e9);
    measured.add("latencies_ms", latencies);
    return measured;
  }

  private static List<List<ByteString>> readTurns(String line) {
    List<List<ByteString>> turns = new ArrayList<>();
    for (var read : JsonParser.parseString(line).getAsJsonArray()) {
      List<ByteString> items = new ArrayList<>();
      for (var item : read.getAsJsonArray()) {
        items.add(ByteString.copyFromUtf8(item.toString()));
      }
      turns.add(items);
    }
    return turns;
  }
}
