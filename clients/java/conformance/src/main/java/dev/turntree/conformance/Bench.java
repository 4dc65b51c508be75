package dev.turntree.conformance;

import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import com.google.protobuf.ByteString;
import dev.turntree.TurntreeClient;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.LongAdder;
import java.util.function.Consumer;

/**
 * Compares turns through the client with the same bytes through a bare echo, by grpc-java as well:
 * {@code bench TURNTREE_URL ECHO_URL SECONDS < TURNS}. Each line of TURNS is a JSON array of items.
 *
 * <p>It prints the median latency in milliseconds of turns one after another, and turns a second of
 * 64 sessions at once; half of the time is for each.
 */
public final class Bench {
  private static final int SESSIONS = 64;
  private static final long SLICE_NANOS = 250_000_000;
  private static final List<Consumer<BenchSession>> SIDES =
      List.of(BenchSession::turn, BenchSession::echoTurn);

  private final List<BenchSession> sessions;
  private final ExecutorService threads = Executors.newFixedThreadPool(SESSIONS);

  private Bench(List<BenchSession> sessions) {
    this.sessions = sessions;
  }

  /** Measures, and prints what it measured. */
  public static void main(String[] arguments) throws IOException {
    double seconds = Double.parseDouble(arguments[2]);
    List<List<ByteString>> turns = readTurns();
    try (TurntreeClient client = TurntreeClient.connect(arguments[0]);
        Echo echo = new Echo(arguments[1])) {
      String name = "bench-" + UUID.randomUUID() + "-";
      List<BenchSession> sessions = new ArrayList<>();
      for (int number = 0; number < SESSIONS; number++) {
        sessions.add(new BenchSession(client, echo, name + number, turns));
      }
      Bench bench = new Bench(sessions);
      int rounds = Math.max(1, (int) (seconds * 1e9 / (4 * SLICE_NANOS)));
      JsonObject measured = new JsonObject();
      measured.add("sequential", bench.medians(rounds, bench::oneByOne));
      measured.add("at_once", bench.medians(rounds, bench::atOnce));
      System.out.println(measured);
      bench.threads.shutdown();
    }
  }

  private static List<List<ByteString>> readTurns() throws IOException {
    var input = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    List<List<ByteString>> turns = new ArrayList<>();
    for (String line = input.readLine(); line != null; line = input.readLine()) {
      List<ByteString> items = new ArrayList<>();
      for (var item : JsonParser.parseString(line).getAsJsonArray()) {
        items.add(ByteString.copyFromUtf8(item.toString()));
      }
      turns.add(items);
    }
    return turns;
  }

  /** Puts the samples of a slice of time into a list. */
  private interface Measure {
    void run(Consumer<BenchSession> side, List<Double> samples);
  }

  /**
   * The medians of both sides, each first in every second round, so that a busy moment of the
   * machine falls on both. The first round is for warming up.
   */
  private JsonObject medians(int rounds, Measure measure) {
    List<List<Double>> samples = List.of(new ArrayList<>(), new ArrayList<>());
    for (int round = 0; round <= rounds; round++) {
      for (int turn = 0; turn < SIDES.size(); turn++) {
        int side = (round + turn) % SIDES.size();
        measure.run(SIDES.get(side), round == 0 ? new ArrayList<>() : samples.get(side));
      }
    }
    JsonObject medians = new JsonObject();
    medians.addProperty("turns", median(samples.get(0)));
    medians.addProperty("echo", median(samples.get(1)));
    return medians;
  }

  private static double median(List<Double> samples) {
    Collections.sort(samples);
    return Math.round(1e4 * samples.get(samples.size() / 2)) / 1e4;
  }

  private void oneByOne(Consumer<BenchSession> side, List<Double> samples) {
    int next = 0;
    for (long start = System.nanoTime(); System.nanoTime() - start < SLICE_NANOS; next++) {
      long begin = System.nanoTime();
      side.accept(sessions.get(next % SESSIONS));
      samples.add((System.nanoTime() - begin) / 1e6);
    }
  }

  private void atOnce(Consumer<BenchSession> side, List<Double> samples) {
    LongAdder count = new LongAdder();
    long start = System.nanoTime();
    List<CompletableFuture<Void>> working = new ArrayList<>();
    for (BenchSession session : sessions) {
      Runnable work =
          () -> {
            while (System.nanoTime() - start < SLICE_NANOS) {
              side.accept(session);
              count.increment();
            }
          };
      working.add(CompletableFuture.runAsync(work, threads));
    }
    working.forEach(CompletableFuture::join);
    samples.add(count.sum() * (double) TimeUnit.SECONDS.toNanos(1) / (System.nanoTime() - start));
  }
}
