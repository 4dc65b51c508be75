package dev.turntree;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.protobuf.ByteString;
import dev.turntree.testing.Credentials;
import dev.turntree.testing.Server;
import dev.turntree.v1.AddItemsRequest;
import dev.turntree.v1.ErrorReason;
import dev.turntree.v1.GetItemsRequest;
import io.grpc.Status;
import java.net.URLEncoder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** Mutual TLS, API keys and rates, as a real server has them. */
@Timeout(60)
class AccessTest {
  private static final String HELLO = "{\"role\": \"user\", \"content\": \"Hello\"}";
  private static final GetItemsRequest READ =
      GetItemsRequest.newBuilder().setSessionId("s").build();
  private static final AddItemsRequest ADD =
      AddItemsRequest.newBuilder()
          .setSessionId("s")
          .addItems(ByteString.copyFromUtf8(HELLO))
          .build();

  @TempDir private static Path folder;
  private static Credentials known;
  private static Credentials stranger;
  private static String reader;
  private static String writer;
  private static Server server;

  @BeforeAll
  static void start() {
    known = Credentials.create(folder, "known");
    stranger = Credentials.create(folder, "stranger");
    Path keysFile = folder.resolve("keys.json");
    reader = Credentials.createApiKey(keysFile, "reader");
    writer = Credentials.createApiKey(keysFile, "writer");
    server =
        Server.start(
            "--tls-cert",
            known.certificate().toString(),
            "--tls-key",
            known.key().toString(),
            "--tls-client-ca",
            known.certificate().toString(),
            "--keys-file",
            keysFile.toString(),
            "--rate-max",
            "20");
  }

  @AfterAll
  static void stop() {
    server.close();
  }

  private static String address(Credentials trusted, Credentials shown) {
    return address(trusted)
        + "&"
        + option("cert_file", shown.certificate())
        + "&"
        + option("key_file", shown.key());
  }

  private static String address(Credentials trusted) {
    return "turntrees://" + server.address() + "?" + option("ca_file", trusted.certificate());
  }

  private static String option(String name, Path file) {
    return name + "=" + URLEncoder.encode(file.toString(), StandardCharsets.UTF_8);
  }

  private static TurntreeClient open(String token) {
    return TurntreeClient.builder(address(known, known)).token(token).build();
  }

  /** A call over mutual TLS with an API key is answered, and so is a stream. */
  @Test
  void callsAndStreams() {
    try (TurntreeClient client = open(writer)) {
      client.session("secure").addItems(HELLO);
      assertEquals(List.of(ByteString.copyFromUtf8(HELLO)), client.session("secure").items());
      try (var changes = client.session("secure").watch()) {
        assertEquals(1, changes.next().getDelta().getItemsCount());
      }
    }
  }

  /** A missing, a wrong and a weak credential are refused, and told apart. */
  @Test
  void refusals() {
    try (TurntreeClient client = TurntreeClient.connect(address(known, known))) {
      var error = assertThrows(TurntreeException.class, () -> client.addItems(ADD));
      assertEquals(Status.Code.UNAUTHENTICATED, error.code());
      assertEquals(ErrorReason.ERROR_REASON_CREDENTIAL_REQUIRED, error.reason());
    }
    try (TurntreeClient client = open("tt_wrong")) {
      var error = assertThrows(TurntreeException.class, () -> client.addItems(ADD));
      assertEquals(Status.Code.UNAUTHENTICATED, error.code());
      assertEquals(ErrorReason.ERROR_REASON_CREDENTIAL_INVALID, error.reason());
    }
    try (TurntreeClient client = open(reader)) {
      var error = assertThrows(TurntreeException.class, () -> client.addItems(ADD));
      assertEquals(Status.Code.PERMISSION_DENIED, error.code());
      assertEquals(ErrorReason.ERROR_REASON_ROLE_INSUFFICIENT, error.reason());
      assertEquals("reader", error.facts().get("role"));
      assertEquals(0, client.getItems(READ).getDelta().getItemsCount());
    }
  }

  /** A function gives a fresh token, for each stream of calls. */
  @Test
  void freshTokens() {
    AtomicInteger asked = new AtomicInteger();
    try (TurntreeClient client =
        TurntreeClient.builder(address(known, known))
            .token(() -> asked.incrementAndGet() == 1 ? "tt_wrong" : reader)
            .build()) {
      assertThrows(TurntreeException.class, () -> client.getItems(READ));
      assertEquals(0, client.getItems(READ).getDelta().getItemsCount());
      assertEquals(2, asked.get());
    }
  }

  /** A watch whose token is revoked goes on with the next one that the function gives. */
  @Test
  void renewedTokens() throws Exception {
    Path keysFile = folder.resolve("rotated.json");
    String old = Credentials.createApiKey(keysFile, "reader");
    String fresh = Credentials.createApiKey(keysFile, "writer");
    AtomicReference<String> current = new AtomicReference<>(old);
    AtomicInteger asked = new AtomicInteger();
    CompletableFuture<Void> renewed = new CompletableFuture<>();
    try (Server rotating = Server.start("--keys-file", keysFile.toString());
        TurntreeClient writing = TurntreeClient.builder(rotating.address()).token(fresh).build();
        TurntreeClient watching =
            TurntreeClient.builder(rotating.address())
                .token(
                    () -> {
                      if (asked.incrementAndGet() == 2) {
                        renewed.complete(null);
                      }
                      return current.get();
                    })
                .build();
        var changes = watching.session("s").watch()) {
      changes.next();
      current.set(fresh);
      Credentials.revokeApiKey(keysFile, "reader");
      var written = renewed.thenRunAsync(() -> writing.addItems(ADD));
      assertEquals(ADD.getItemsList(), changes.next().getDelta().getItemsList());
      written.get();
      assertEquals(2, asked.get());
    }
  }

  /** A connection that is not trusted by both is none. */
  @Test
  void untrusted() {
    for (String url :
        List.of(
            address(stranger, known),
            address(known, stranger),
            address(known),
            "turntrees://" + server.address(),
            "turntree://" + server.address())) {
      try (TurntreeClient client =
          TurntreeClient.builder(url).token(writer).retryFor(Duration.ofMillis(300)).build()) {
        var error = assertThrows(TurntreeException.class, () -> client.getItems(READ), url);
        assertEquals(ErrorReason.ERROR_REASON_SERVER_UNREACHABLE, error.reason(), url);
      }
    }
  }

  /** A rate that is too high is slowed down, and says how long to wait to who does not wait. */
  @Test
  void rates() {
    try (TurntreeClient patient = open(reader);
        TurntreeClient hasty =
            TurntreeClient.builder(address(known, known))
                .token(reader)
                .retryFor(Duration.ofNanos(1))
                .build()) {
      for (int call = 0; call < 30; call++) {
        patient.getItems(READ);
      }
      List<TurntreeException> refused = new ArrayList<>();
      for (int call = 0; call < 60; call++) {
        try {
          hasty.getItems(READ);
        } catch (TurntreeException error) {
          refused.add(error);
        }
      }
      assertFalse(refused.isEmpty());
      for (TurntreeException error : refused) {
        assertEquals(ErrorReason.ERROR_REASON_RATE_EXCEEDED, error.reason());
        assertTrue(error.retryAfter().isPresent());
      }
    }
  }
}
