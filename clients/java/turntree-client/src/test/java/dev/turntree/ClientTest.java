package dev.turntree;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.protobuf.ByteString;
import dev.turntree.testing.Server;
import dev.turntree.v1.AddItemsRequest;
import dev.turntree.v1.Branch;
import dev.turntree.v1.BranchPointer;
import dev.turntree.v1.DeltaKind;
import dev.turntree.v1.ErrorReason;
import dev.turntree.v1.GetBranchRequest;
import dev.turntree.v1.GetSessionRequest;
import dev.turntree.v1.ListTurnsRequest;
import dev.turntree.v1.StreamItemsRequest;
import io.grpc.Status;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutionException;
import java.util.function.Supplier;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(60)
@SuppressWarnings("try")
class ClientTest {
  private static String user(String text) {
    return "{\"role\": \"user\", \"content\": \"" + text + "\"}";
  }

  /** A client that has time for a server that starts slowly. */
  private static TurntreeClient patient(Server server) {
    return TurntreeClient.builder(server.address()).retryFor(Duration.ofSeconds(30)).build();
  }

  private static AddItemsRequest add(String text) {
    return AddItemsRequest.newBuilder()
        .setSessionId("s")
        .addItems(ByteString.copyFromUtf8(user(text)))
        .build();
  }

  /**
   * Items come back byte for byte: integers beyond 2^53, all of Unicode, and the spaces between.
   */
  @Test
  void bytes() {
    String item = "{ \"role\":\"user\" ,\"content\":\"ü 🌳 \\u00fc\\n\",\"n\":9007199254740993}";
    try (Server server = Server.start();
        TurntreeClient client = TurntreeClient.connect(server.address())) {
      client.session("s").addItems(item);
      assertEquals(List.of(ByteString.copyFromUtf8(item)), client.session("s").items());
    }
  }

  /** An error has the code, the reason and the facts of the server. */
  @Test
  void typedErrors() {
    try (Server server = Server.start();
        TurntreeClient client = TurntreeClient.connect(server.address())) {
      var request = GetBranchRequest.newBuilder().setSessionId("s").setBranchId("b").build();
      var error = assertThrows(TurntreeException.class, () -> client.getBranch(request));
      assertEquals(Status.Code.NOT_FOUND, error.code());
      assertEquals(ErrorReason.ERROR_REASON_BRANCH_NOT_FOUND, error.reason());
      assertEquals("b", error.facts().get("branch_id"));
      assertEquals("s", error.facts().get("session_id"));
    }
  }

  /**
   * A history of 5 MB comes whole and in order, also when the server is killed while it is read.
   */
  @Test
  void streamsResume() {
    try (Server server = Server.start();
        TurntreeClient client = patient(server)) {
      var session = client.session("s");
      List<ByteString> items = new ArrayList<>();
      for (int part = 0; part < 5; part++) {
        List<ByteString> some =
            IntStream.range(0, 10)
                .mapToObj(n -> ByteString.copyFromUtf8(user(n + "x".repeat(100_000))))
                .toList();
        session.addItems(some);
        items.addAll(some);
      }
      assertEquals(items, session.items());

      List<ByteString> read = new ArrayList<>();
      var request = StreamItemsRequest.newBuilder().setSessionId("s").build();
      try (var responses = client.streamItems(request)) {
        read.addAll(responses.next().getDelta().getItemsList());
        server.kill();
        server.startAgain();
        while (responses.hasNext()) {
          var delta = responses.next().getDelta();
          assertEquals(DeltaKind.DELTA_KIND_APPENDED, delta.getKind());
          read.addAll(delta.getItemsList());
        }
      }
      assertEquals(items, read);

      List<ByteString> turned = new ArrayList<>();
      try (var turns = session.streamTurns()) {
        turns.next().getTurnsList().forEach(turn -> turned.addAll(turn.getItemsList()));
        server.kill();
        server.startAgain();
        while (turns.hasNext()) {
          turns.next().getTurnsList().forEach(turn -> turned.addAll(turn.getItemsList()));
        }
      }
      assertEquals(items, turned);
    }
  }

  /** Calls go on through a kill -9 of the server and its restart, and each has one effect. */
  @Test
  void killedServer() throws Exception {
    try (Server server = Server.start();
        TurntreeClient client = patient(server)) {
      CountDownLatch begun = new CountDownLatch(10);
      var writer =
          CompletableFuture.runAsync(
              () -> {
                for (int number = 0; number < 40; number++) {
                  client.addItems(add("" + number));
                  begun.countDown();
                }
              });
      begun.await();
      server.kill();
      server.startAgain();
      writer.get();
      List<ByteString> expected =
          IntStream.range(0, 40).mapToObj(n -> ByteString.copyFromUtf8(user("" + n))).toList();
      assertEquals(expected, client.session("s").items());
    }
  }

  /** A repeat of a request_id has no second effect, and gets the first answer. */
  @Test
  void requestIds() {
    try (Server server = Server.start();
        TurntreeClient client = TurntreeClient.connect(server.address())) {
      var request = add("once").toBuilder().setRequestId("r").build();
      var first = client.addItems(request);
      server.kill();
      server.startAgain();
      assertEquals(first, client.addItems(request));
      assertEquals(1, client.session("s").items().size());
      assertEquals(7, java.util.UUID.fromString(RequestIds.next()).version());
    }
  }

  /**
   * A watch goes on through a kill -9 and restart, for longer than calls are tried, with every
   * change once.
   */
  @Test
  void watchResumes() {
    var short300 = Duration.ofMillis(300);
    try (Server server = Server.start();
        TurntreeClient client = TurntreeClient.connect(server.address());
        TurntreeClient watching =
            TurntreeClient.builder(server.address()).retryFor(short300).build()) {
      client.addItems(add("1"));
      try (var changes = watching.session("s").watch()) {
        assertEquals(DeltaKind.DELTA_KIND_REPLACED, changes.next().getDelta().getKind());
        server.kill();
        var away = GetSessionRequest.newBuilder().setSessionId("s").build();
        assertThrows(TurntreeException.class, () -> watching.getSession(away));
        server.startAgain();
        client.addItems(add("2"));
        var change = changes.next().getDelta();
        assertEquals(DeltaKind.DELTA_KIND_APPENDED, change.getKind());
        assertEquals(List.of(ByteString.copyFromUtf8(user("2"))), change.getItemsList());
      }
    }
  }

  /**
   * A server that is away fails a call and a stream with SERVER_UNREACHABLE after the time that is
   * set.
   */
  @Test
  void serverAway() {
    try (Server server = Server.start();
        TurntreeClient client =
            TurntreeClient.builder(server.address()).retryFor(Duration.ofMillis(300)).build()) {
      server.kill();
      var request = GetSessionRequest.newBuilder().setSessionId("s").build();
      var calling = assertThrows(TurntreeException.class, () -> client.getSession(request));
      var watching =
          assertThrows(TurntreeException.class, () -> client.session("s").watch().next());
      for (var error : List.of(calling, watching)) {
        assertEquals(Status.Code.UNAVAILABLE, error.code());
        assertEquals(ErrorReason.ERROR_REASON_SERVER_UNREACHABLE, error.reason());
        assertEquals(server.address(), error.facts().get("target"));
      }
    }
  }

  /** A call without an answer fails at its deadline, and one that is cancelled ends at once. */
  @Test
  void deadlineAndCancel() throws Exception {
    try (ServerSocket silent = new ServerSocket(0, 5, InetAddress.getLoopbackAddress());
        TurntreeClient client = TurntreeClient.connect("127.0.0.1:" + silent.getLocalPort())) {
      var request = GetSessionRequest.newBuilder().setSessionId("s").build();
      var quick = client.withTimeout(Duration.ofMillis(200));
      var error = assertThrows(TurntreeException.class, () -> quick.getSession(request));
      assertEquals(Status.Code.DEADLINE_EXCEEDED, error.code());
      assertEquals(ErrorReason.ERROR_REASON_DEADLINE_EXCEEDED, error.reason());
      var future = client.async().getSession(request);
      assertTrue(future.cancel(true));
      client.close();
      var closed = assertThrows(TurntreeException.class, () -> client.getSession(request));
      assertEquals(ErrorReason.ERROR_REASON_SERVER_STOPPING, closed.reason());
    }
  }

  /** All pages of a list are read, and the handle follows its branch. */
  @Test
  void pagesAndBranches() {
    try (Server server = Server.start();
        TurntreeClient client = TurntreeClient.connect(server.address())) {
      var session = client.session("s");
      session.addItems(user("1"), user("2"), user("3"));
      List<Long> turns = new ArrayList<>();
      var request = ListTurnsRequest.newBuilder().setSessionId("s").setPageSize(1).build();
      client
          .pages(client::listTurns, request)
          .forEach(page -> turns.addAll(page.getTurns().getTurnsList()));
      assertEquals(List.of(1L, 2L, 3L), turns);
      session.branchBefore(2, "b");
      assertEquals(1, session.items().size());
      client.session("s").clear();
      session.addItems(user("4"));
      BranchPointer main = session.branch();
      assertEquals("main", main.getBranchId());
    }
  }

  /** The token of the environment is looked at only by a client that is given none. */
  @Test
  void tokenOfTheEnvironment() {
    var none = new TurntreeClientBuilder("127.0.0.1:1", "two words");
    assertEquals("token", assertThrows(TurntreeException.class, none::build).facts().get("field"));
    new TurntreeClientBuilder("127.0.0.1:1", "two words").token("t").build().close();
    new TurntreeClientBuilder("127.0.0.1:1", "").build().close();
  }

  /** A token is never sent without TLS except to this machine. */
  @Test
  void tokensArePrivate() {
    var plain = TurntreeClient.builder("memory.example:1").token("t");
    assertEquals("url", assertThrows(TurntreeException.class, plain::build).facts().get("field"));
    TurntreeClient.builder("127.0.0.1:1").token("t").build().close();
    TurntreeClient.builder("turntrees://memory.example:1").token("t").build().close();
  }

  /** How a call, one that goes alone, and a stream fail. */
  private static List<TurntreeException> failures(TurntreeClient client) {
    var request = GetSessionRequest.newBuilder().setSessionId("s").build();
    var large = add("x".repeat(2 << 20));
    return List.of(
        assertThrows(TurntreeException.class, () -> client.getSession(request)),
        assertThrows(TurntreeException.class, () -> client.addItems(large)),
        assertThrows(TurntreeException.class, () -> client.session("s").items()));
  }

  private static void assertHidden(TurntreeException error) {
    var limit = "a token of visible ASCII characters";
    assertEquals(Status.Code.INVALID_ARGUMENT, error.code());
    assertEquals(ErrorReason.ERROR_REASON_FIELD_INVALID, error.reason());
    assertEquals(Map.of("field", "token", "value", "(hidden)", "limit", limit), error.facts());
    assertFalse(error.toString().contains("secret"));
  }

  /** What is no token is refused without being shown or sent: as a text, and by a function. */
  @Test
  void tokensAreChecked() throws Exception {
    try (ToldServer server = new ToldServer()) {
      for (String token :
          List.of("secret\n", "", "a secret", "\0secret", "sécret", "secret\u007f")) {
        var builder = TurntreeClient.builder(server.address());
        assertHidden(assertThrows(TurntreeException.class, () -> builder.token(token)));
        try (TurntreeClient client = builder.token(() -> token).build()) {
          failures(client).forEach(ClientTest::assertHidden);
        }
      }
      assertEquals(0, server.opened());
    }
  }

  /** A function that fails to give a token fails the call with what it failed with. */
  @Test
  void noToken() throws Exception {
    try (ToldServer server = new ToldServer();
        TurntreeClient client =
            TurntreeClient.builder(server.address())
                .token(
                    () -> {
                      throw new AssertionError("the vault is sealed");
                    })
                .build()) {
      for (var error : failures(client)) {
        assertEquals(Status.Code.UNAUTHENTICATED, error.code());
        assertEquals(ErrorReason.ERROR_REASON_CREDENTIAL_REQUIRED, error.reason());
        assertTrue(error.toString().contains("no token: "), error::toString);
        assertTrue(error.toString().contains("the vault is sealed"), error::toString);
      }
    }
  }

  /** A status that turntree does not say is told by its code, as that of something in between. */
  @Test
  void bareStatuses() {
    for (var code : Status.Code.values()) {
      var error = Statuses.toException(code.toStatus().withDescription("no"), null, "h:1");
      var expected =
          switch (code) {
            case UNAVAILABLE, INTERNAL, UNKNOWN, CANCELLED ->
                ErrorReason.ERROR_REASON_SERVER_UNREACHABLE;
            case DEADLINE_EXCEEDED -> ErrorReason.ERROR_REASON_DEADLINE_EXCEEDED;
            case RESOURCE_EXHAUSTED -> ErrorReason.ERROR_REASON_MESSAGE_TOO_LARGE;
            case UNAUTHENTICATED -> ErrorReason.ERROR_REASON_CREDENTIAL_INVALID;
            default -> ErrorReason.ERROR_REASON_INTERNAL;
          };
      boolean isAway = expected == ErrorReason.ERROR_REASON_SERVER_UNREACHABLE;
      assertEquals(expected, error.reason(), code::toString);
      assertEquals(isAway ? Status.Code.UNAVAILABLE : code, error.code());
      assertEquals(isAway ? Map.of("target", "h:1") : Map.of(), error.facts());
      assertTrue(error.toString().contains("h:1: no"), error::toString);
    }
  }

  /** No time for retries is none: a server that is away is asked once. */
  @Test
  void noRetries() throws Exception {
    try (ToldServer server = new ToldServer();
        TurntreeClient client =
            TurntreeClient.builder(server.address()).retryFor(Duration.ZERO).build()) {
      var request = GetSessionRequest.newBuilder().setSessionId("s").build();
      var answer = client.async().getSession(request);
      server.stream().end(Status.UNAVAILABLE.asRuntimeException());
      assertThrows(ExecutionException.class, answer::get);
      assertEquals(1, server.opened());
    }
    for (var time : List.of(Duration.ofNanos(-1), Duration.ofDays(2))) {
      var builder = TurntreeClient.builder("h:1");
      var error = assertThrows(TurntreeException.class, () -> builder.retryFor(time));
      assertEquals("retryFor", error.facts().get("field"));
    }
    var builder = TurntreeClient.builder("h:1");
    assertThrows(TurntreeException.class, () -> builder.timeout(Duration.ZERO));
  }

  /** The handle forks before and after a turn, by content and at the end, with an id or without. */
  @Test
  void forks() {
    try (Server server = Server.start();
        TurntreeClient client = TurntreeClient.connect(server.address())) {
      var session = client.session("s");
      session.addItems(user("one"), user("two"), user("three"));
      List<Supplier<Branch>> named =
          List.of(
              () -> session.branchBefore(2, "before"),
              () -> session.branchAfter(2, "after"),
              () -> session.branchBeforeContent("THREE", "content"),
              () -> session.branchHere("here"));
      List<Supplier<Branch>> unnamed =
          List.of(
              () -> session.branchBefore(2),
              () -> session.branchAfter(2),
              () -> session.branchBeforeContent("THREE"),
              session::branchHere);
      var names = List.of("before", "after", "content", "here");
      var sizes = List.of(1, 2, 2, 3);
      for (int way = 0; way < 4; way++) {
        session.switchTo("main");
        assertEquals(names.get(way), named.get(way).get().getBranchId());
        assertEquals(sizes.get(way), session.items().size(), names.get(way));
        session.switchTo("main");
        String made = unnamed.get(way).get().getBranchId();
        assertFalse(made.isEmpty() || made.equals("main"));
        assertEquals(made, session.branch().getBranchId());
        assertEquals(sizes.get(way), session.items().size(), names.get(way));
      }
    }
  }
}
