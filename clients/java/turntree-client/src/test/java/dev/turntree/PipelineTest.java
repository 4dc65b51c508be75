package dev.turntree;

import static java.util.Objects.requireNonNull;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.protobuf.Any;
import com.google.protobuf.ByteString;
import com.google.rpc.ErrorInfo;
import com.google.rpc.RetryInfo;
import dev.turntree.testing.Server;
import dev.turntree.v1.AddItemsRequest;
import dev.turntree.v1.AddItemsResponse;
import dev.turntree.v1.ErrorReason;
import dev.turntree.v1.GetSessionRequest;
import dev.turntree.v1.GetSessionResponse;
import dev.turntree.v1.PipelineCall;
import dev.turntree.v1.PipelineReply;
import dev.turntree.v1.SessionServiceGrpc;
import dev.turntree.v1.StreamItemsRequest;
import dev.turntree.v1.StreamItemsResponse;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.protobuf.StatusProto;
import io.grpc.stub.StreamObserver;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Predicate;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** The stream of calls, against a server that does what a test tells it. */
@Timeout(60)
class PipelineTest {
  private static GetSessionRequest get(String session) {
    return GetSessionRequest.newBuilder().setSessionId(session).build();
  }

  private static AddItemsRequest add(String item) {
    var bytes = ByteString.copyFromUtf8(item);
    return AddItemsRequest.newBuilder().setSessionId("s").addItems(bytes).build();
  }

  /** A client that has time for a server that starts slowly. */
  private static TurntreeClient patient(Server server) {
    return TurntreeClient.builder(server.address()).retryFor(Duration.ofSeconds(30)).build();
  }

  private static PipelineReply described(PipelineCall call) {
    var response = GetSessionResponse.newBuilder();
    response.getSessionBuilder().setSessionId(call.getGetSession().getSessionId());
    return PipelineReply.newBuilder().setCallId(call.getCallId()).setGetSession(response).build();
  }

  private static PipelineReply added(PipelineCall call, long turn) {
    var response = AddItemsResponse.newBuilder().setTurn(turn);
    return PipelineReply.newBuilder().setCallId(call.getCallId()).setAddItems(response).build();
  }

  private static StatusRuntimeException refused(Status status) {
    return status.asRuntimeException();
  }

  private static TurntreeException errorOf(CompletableFuture<?> future) {
    var error = assertThrows(ExecutionException.class, () -> future.get(30, TimeUnit.SECONDS));
    return (TurntreeException) requireNonNull(error.getCause());
  }

  /** All calls travel on one stream, and what waits for it shares messages of at most 64. */
  @Test
  void sharesMessages() throws Exception {
    var token = new CompletableFuture<String>();
    try (ToldServer server = new ToldServer();
        TurntreeClient client =
            TurntreeClient.builder(server.address()).token(token::join).build()) {
      List<CompletableFuture<GetSessionResponse>> answers = new ArrayList<>();
      for (int number = 0; number < 200; number++) {
        answers.add(client.async().getSession(get("s" + number)));
      }
      token.complete("t");
      ToldServer.Stream stream = server.stream();
      List<PipelineCall> calls = new ArrayList<>();
      int messages = 0;
      while (calls.size() < 200) {
        List<PipelineCall> together = stream.message();
        assertTrue(together.size() <= 64, () -> together.size() + " calls in a message");
        calls.addAll(together);
        messages++;
      }
      assertEquals(4, messages);
      for (int last = calls.size() - 1; last >= 0; last--) { // in any order
        stream.reply(described(calls.get(last)));
      }
      for (int number = 0; number < 200; number++) {
        assertEquals("s" + number, answers.get(number).get().getSession().getSessionId());
      }
      assertEquals(1, server.opened());
    }
  }

  /** When the stream breaks, calls without an answer are sent again as the same, on one stream. */
  @Test
  void brokenStream() throws Exception {
    try (ToldServer server = new ToldServer();
        TurntreeClient client = TurntreeClient.connect(server.address())) {
      var first = client.async().addItems(add("1"));
      ToldServer.Stream stream = server.stream();
      PipelineCall before = stream.call();
      var others = new ArrayList<CompletableFuture<GetSessionResponse>>();
      for (int number = 0; number < 150; number++) { // more than the budget of retries
        others.add(client.async().getSession(get("s")));
      }
      for (int number = 0; number < 150; number++) {
        stream.call();
      }
      stream.end(refused(Status.UNAVAILABLE));

      ToldServer.Stream again = server.stream();
      int adds = 0;
      for (int number = 0; number < 151; number++) {
        PipelineCall call = again.call();
        if (call.hasAddItems()) {
          assertEquals(before.getAddItems(), call.getAddItems());
          assertFalse(call.getAddItems().getRequestId().isEmpty());
          again.reply(added(call, 7));
          adds++;
        } else {
          again.reply(described(call));
        }
      }
      assertEquals(1, adds);
      assertEquals(7, first.get().getTurn());
      for (var other : others) {
        assertEquals("s", other.get().getSession().getSessionId());
      }
      assertEquals(2, server.opened());
    }
  }

  /** Adds that many threads make through kills of the server have one effect each. */
  @Test
  void oneEffect() throws Exception {
    try (Server server = Server.start();
        TurntreeClient client = patient(server)) {
      var started = new AtomicInteger();
      List<CompletableFuture<Void>> writers = new ArrayList<>();
      for (int writer = 0; writer < 8; writer++) {
        writers.add(
            CompletableFuture.runAsync(
                () -> {
                  for (int number = 0; number < 20; number++) {
                    client.addItems(add("{\"role\": \"user\", \"content\": \"\"}"));
                    started.incrementAndGet();
                  }
                },
                work -> new Thread(work).start()));
      }
      while (started.get() < 20) {
        Thread.onSpinWait();
      }
      server.kill();
      server.startAgain();
      for (var writer : writers) {
        writer.get();
      }
      assertEquals(160, client.session("s").items().size());
    }
  }

  /**
   * A call ends at its deadline, whether the server has it or not, and its late reply is ignored.
   */
  @Test
  void deadline() throws Exception {
    try (ToldServer server = new ToldServer();
        TurntreeClient client = TurntreeClient.connect(server.address())) {
      var quick = client.withTimeout(Duration.ofSeconds(1)).async();
      var slow = client.async().getSession(get("slow"));
      ToldServer.Stream stream = server.stream();
      PipelineCall slowCall = stream.call();
      var late = quick.getSession(get("late"));
      PipelineCall lateCall = stream.call();
      assertTrue(lateCall.getTimeout().getSeconds() == 0 && lateCall.getTimeout().getNanos() > 0);
      assertTrue(slowCall.getTimeout().getSeconds() >= 28);
      TurntreeException error = errorOf(late);
      assertEquals(Status.Code.DEADLINE_EXCEEDED, error.code());
      assertEquals(ErrorReason.ERROR_REASON_DEADLINE_EXCEEDED, error.reason());
      stream.reply(described(lateCall));
      stream.reply(described(slowCall));
      assertEquals("slow", slow.get().getSession().getSessionId());

      stream.end(refused(Status.UNAVAILABLE)); // what comes now waits for another stream
      var waiting = client.withTimeout(Duration.ofSeconds(1)).async(); // long enough for a try
      assertEquals(Status.Code.DEADLINE_EXCEEDED, errorOf(waiting.getSession(get("s"))).code());
    }
  }

  private static String taken(BlockingQueue<String> tokens) {
    try {
      return tokens.take();
    } catch (InterruptedException interrupted) {
      throw new IllegalStateException(interrupted);
    }
  }

  /** A call that was cancelled is not sent any more, and its reply is ignored if it was. */
  @Test
  void cancelled() throws Exception {
    var tokens = new LinkedBlockingQueue<>(List.of("t1"));
    try (ToldServer server = new ToldServer();
        TurntreeClient client =
            TurntreeClient.builder(server.address()).token(() -> taken(tokens)).build()) {
      var left = client.async().getSession(get("left"));
      ToldServer.Stream stream = server.stream();
      PipelineCall leftCall = stream.call();
      assertTrue(left.cancel(true));
      stream.reply(described(leftCall));

      var kept = client.async().getSession(get("kept"));
      stream.call();
      stream.end(refused(Status.UNAVAILABLE));
      var unsent = client.async().getSession(get("unsent"));
      assertTrue(unsent.cancel(true));
      tokens.add("t2"); // without it nothing is sent
      ToldServer.Stream again = server.stream();
      PipelineCall keptCall = again.call();
      assertEquals("kept", keptCall.getGetSession().getSessionId());
      again.reply(described(keptCall));
      assertEquals("kept", kept.get().getSession().getSessionId());
      var next = client.async().getSession(get("next"));
      assertEquals("next", again.call().getGetSession().getSessionId());
      assertTrue(next.cancel(true));
    }
  }

  /** A call that is cancelled while it waits for its next try is not made again. */
  @Test
  void cancelledWhileWaiting() throws Exception {
    try (ToldServer server = new ToldServer();
        TurntreeClient client = TurntreeClient.connect(server.address())) {
      var left = client.async().getSession(get("left"));
      var other = client.async().getSession(get("other"));
      ToldServer.Stream stream = server.stream();
      var second = com.google.protobuf.Duration.newBuilder().setSeconds(1);
      var busy = failed(stream.call(), Status.UNAVAILABLE, "STORE_BUSY").toBuilder();
      busy.getErrorBuilder()
          .addDetails(Any.pack(RetryInfo.newBuilder().setRetryDelay(second).build()));
      stream.reply(busy.build());
      stream.reply(described(stream.call()));
      other.get(); // so the client knows of the failure before
      assertTrue(left.cancel(true));
      var later = new CompletableFuture<Void>(); // than the try that would be made
      long wait = Duration.ofMillis(1_600).toNanos();
      client.async().connection().after(wait, () -> later.complete(null));
      later.get();
      var next = client.async().getSession(get("next"));
      assertEquals("next", stream.call().getGetSession().getSessionId());
      assertTrue(next.cancel(true));
    }
  }

  /** A stream whose token is no longer valid is opened again with a fresh one, once for a call. */
  @Test
  void expiredToken() throws Exception {
    var asked = new AtomicInteger();
    try (ToldServer server = new ToldServer();
        TurntreeClient client =
            TurntreeClient.builder(server.address())
                .token(() -> "t" + asked.incrementAndGet())
                .build()) {
      var first = client.async().getSession(get("s"));
      ToldServer.Stream stream = server.stream();
      assertEquals("Bearer t1", stream.authorization());
      stream.reply(described(stream.call()));
      first.get();
      var second = client.async().getSession(get("s"));
      stream.call();
      stream.end(refused(Status.UNAUTHENTICATED));
      ToldServer.Stream renewed = server.stream();
      assertEquals("Bearer t2", renewed.authorization());
      renewed.call();
      renewed.end(refused(Status.UNAUTHENTICATED));
      assertEquals(Status.Code.UNAUTHENTICATED, errorOf(second).code());
      assertEquals(2, server.opened());
    }
  }

  /** A reply's error has code, reason and facts; one that says unavailable is asked again. */
  @Test
  void errors() throws Exception {
    try (ToldServer server = new ToldServer();
        TurntreeClient client = TurntreeClient.connect(server.address())) {
      var answer = client.async().getSession(get("s"));
      ToldServer.Stream stream = server.stream();
      stream.reply(failed(stream.call(), Status.UNAVAILABLE, "SERVER_STOPPING"));
      stream.reply(failed(stream.call(), Status.NOT_FOUND, "SESSION_NOT_FOUND"));
      TurntreeException error = errorOf(answer);
      assertEquals(Status.Code.NOT_FOUND, error.code());
      assertEquals(ErrorReason.ERROR_REASON_SESSION_NOT_FOUND, error.reason());
      assertEquals("s", error.facts().get("session_id"));
      assertEquals(1, server.opened());
    }
  }

  private static PipelineReply failed(PipelineCall call, Status status, String reason) {
    var info =
        ErrorInfo.newBuilder()
            .setDomain("turntree")
            .setReason("ERROR_REASON_" + reason)
            .putMetadata("session_id", call.getGetSession().getSessionId());
    var reply = PipelineReply.newBuilder().setCallId(call.getCallId());
    reply.getErrorBuilder().setCode(status.getCode().value()).addDetails(Any.pack(info.build()));
    return reply.build();
  }

  /** A server without the pipeline is called without it, and so is one with a large request. */
  @Test
  void withoutPipeline() throws Exception {
    var sizes = new ArrayList<Integer>();
    var unary =
        new SessionServiceGrpc.SessionServiceImplBase() {
          @Override
          public void addItems(AddItemsRequest request, StreamObserver<AddItemsResponse> observer) {
            sizes.add(request.getSerializedSize());
            observer.onNext(AddItemsResponse.newBuilder().setTurn(3).build());
            observer.onCompleted();
          }
        };
    try (ToldServer server = new ToldServer(unary);
        TurntreeClient client = TurntreeClient.connect(server.address())) {
      assertEquals(3, client.addItems(add("x".repeat(2 << 20))).getTurn());
      assertEquals(0, server.opened());
      var answer = client.async().addItems(add("1"));
      server.stream().end(refused(Status.UNIMPLEMENTED));
      assertEquals(3, answer.get().getTurn());
      assertEquals(3, client.addItems(add("2")).getTurn());
      assertEquals(3, sizes.size());
      assertEquals(1, server.opened());
    }
  }

  /** Who waits in a callback for another call does not hold up its reply. */
  @Test
  void callbacksMayWait() throws Exception {
    try (Server server = Server.start();
        TurntreeClient client = TurntreeClient.connect(server.address())) {
      String item = "{\"role\": \"user\", \"content\": \"\"}";
      var answer =
          client.async().addItems(add(item)).thenApply(added -> client.addItems(add(item)));
      assertEquals(2, answer.get(30, TimeUnit.SECONDS).getTurn());
    }
  }

  private static boolean isOfClient(Thread thread) {
    return thread.getName().startsWith("turntree-");
  }

  /** A client that is closed ends its calls at once, and leaves no thread. */
  @Test
  void closed() throws Exception {
    try (ToldServer server = new ToldServer()) {
      TurntreeClient client = TurntreeClient.connect(server.address());
      var answer = client.async().getSession(get("s"));
      server.stream().call();
      client.close();
      assertEquals(ErrorReason.ERROR_REASON_SERVER_STOPPING, errorOf(answer).reason());
      while (threads(PipelineTest::isOfClient) > 0) {
        Thread.onSpinWait();
      }
    }
  }

  private static long threads(Predicate<Thread> some) {
    return Thread.getAllStackTraces().keySet().stream().filter(some).count();
  }

  private static boolean isAskingBudget(Thread thread) {
    StackTraceElement[] frames = thread.getStackTrace();
    return thread.getState() == Thread.State.BLOCKED
        && frames.length > 0
        && frames[0].getMethodName().equals("spend");
  }

  /** A call and a stream that fail just when their client is closed end. */
  @Test
  void closedWhileFailing() throws Exception {
    TurntreeClient client;
    try (ServerSocket free = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
      client = TurntreeClient.connect("127.0.0.1:" + free.getLocalPort());
    }
    CompletableFuture<?> answer;
    CompletableFuture<?> read;
    synchronized (client.async().connection().budget) { // no retry is decided upon meanwhile
      answer = client.async().addItems(add("x".repeat(2 << 20)));
      read = CompletableFuture.runAsync(() -> client.session("s").items());
      while (threads(PipelineTest::isAskingBudget) < 2) {
        Thread.onSpinWait();
      }
      client.close();
    }
    assertEquals(ErrorReason.ERROR_REASON_SERVER_STOPPING, errorOf(answer).reason());
    assertEquals(ErrorReason.ERROR_REASON_SERVER_STOPPING, errorOf(read).reason());
  }

  /** A call and a stream that wait to be tried again end when their client is closed. */
  @Test
  void closedWhileWaiting() throws Exception {
    var delay = com.google.protobuf.Duration.newBuilder().setSeconds(40);
    var retry = RetryInfo.newBuilder().setRetryDelay(delay);
    var info = ErrorInfo.newBuilder().setDomain("turntree").setReason("ERROR_REASON_STORE_BUSY");
    var busy =
        com.google.rpc.Status.newBuilder()
            .setCode(Status.Code.UNAVAILABLE.value())
            .addDetails(Any.pack(info.build()))
            .addDetails(Any.pack(retry.build()));
    var reads = new CompletableFuture<Void>();
    var sessions =
        new SessionServiceGrpc.SessionServiceImplBase() {
          @Override
          public void streamItems(
              StreamItemsRequest request, StreamObserver<StreamItemsResponse> responses) {
            responses.onError(StatusProto.toStatusRuntimeException(busy.build()));
            reads.complete(null);
          }
        };
    try (ToldServer server = new ToldServer(sessions)) {
      TurntreeClient client =
          TurntreeClient.builder(server.address())
              .timeout(Duration.ofMinutes(5))
              .retryFor(Duration.ofMinutes(5))
              .build();
      var answer = client.async().getSession(get("s"));
      ToldServer.Stream stream = server.stream();
      stream.reply(
          PipelineReply.newBuilder().setCallId(stream.call().getCallId()).setError(busy).build());
      var read = CompletableFuture.runAsync(() -> client.session("s").items());
      reads.get(30, TimeUnit.SECONDS);
      while (client.async().connection().waiting.size() < 2) {
        Thread.onSpinWait();
      }
      client.close();
      assertEquals(ErrorReason.ERROR_REASON_SERVER_STOPPING, errorOf(answer).reason());
      assertEquals(ErrorReason.ERROR_REASON_SERVER_STOPPING, errorOf(read).reason());
    }
  }

  /**
   * A function that does not give its token is given up after the time of a call, by calls and by
   * streams, and asked again by the next one.
   */
  @Test
  void hangingToken() throws Exception {
    var asked = new AtomicInteger();
    var never = new CompletableFuture<String>();
    var sessions =
        new SessionServiceGrpc.SessionServiceImplBase() {
          @Override
          public void streamItems(
              StreamItemsRequest request, StreamObserver<StreamItemsResponse> responses) {
            responses.onCompleted();
          }
        };
    try (ToldServer server = new ToldServer(sessions);
        TurntreeClient client =
            TurntreeClient.builder(server.address())
                .token(() -> asked.incrementAndGet() % 2 == 1 ? never.join() : "t")
                .timeout(Duration.ofMillis(300))
                .build()) {
      assertThrows(TurntreeException.class, () -> client.getSession(get("s")));
      var answer = client.withTimeout(Duration.ofSeconds(30)).async().getSession(get("s"));
      ToldServer.Stream stream = server.stream();
      stream.reply(described(stream.call()));
      assertEquals("s", answer.get(30, TimeUnit.SECONDS).getSession().getSessionId());
      var read = CompletableFuture.runAsync(() -> client.session("s").items());
      assertEquals(Status.Code.DEADLINE_EXCEEDED, errorOf(read).code());
      assertEquals(List.of(), client.session("s").items());
      never.complete("too late");
    }
  }

  /** What is to be done later is done at once when the timer has ended. */
  @Test
  void laterIsNow() {
    var connection = new Connection(Address.parse("127.0.0.1:1"), null, Duration.ofSeconds(1));
    connection.timer.shutdown();
    var done = new AtomicInteger();
    connection.after(Duration.ofDays(1).toNanos(), done::incrementAndGet);
    assertEquals(1, done.get());
    connection.close();
    connection.after(Duration.ofDays(1).toNanos(), done::incrementAndGet);
    assertEquals(2, done.get());
  }
}
