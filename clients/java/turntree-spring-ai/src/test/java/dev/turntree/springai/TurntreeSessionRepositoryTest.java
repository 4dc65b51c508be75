package dev.turntree.springai;

import static dev.turntree.memory.OtherProgram.assistant;
import static dev.turntree.memory.OtherProgram.reasoning;
import static dev.turntree.memory.OtherProgram.user;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.turntree.TurntreeClient;
import dev.turntree.memory.OtherProgram;
import dev.turntree.testing.Server;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.concurrent.CompletableFuture;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.springframework.ai.chat.client.ChatClient;
import org.springframework.ai.chat.messages.AssistantMessage;
import org.springframework.ai.chat.messages.Message;
import org.springframework.ai.chat.messages.UserMessage;
import org.springframework.ai.session.DefaultSessionService;
import org.springframework.ai.session.EventFilter;
import org.springframework.ai.session.InMemorySessionRepository;
import org.springframework.ai.session.Session;
import org.springframework.ai.session.SessionEvent;
import org.springframework.ai.session.SessionRepository;
import org.springframework.ai.session.advisor.SessionMemoryAdvisor;
import org.springframework.ai.session.compaction.SlidingWindowCompactionStrategy;

@Timeout(120)
class TurntreeSessionRepositoryTest {
  private static final Instant NOW = Instant.parse("2026-01-02T03:04:05.678901234Z");

  private Server server;
  private TurntreeClient client;
  private SessionRepository repository;
  private OtherProgram other;

  @BeforeEach
  void start() {
    server = Server.start();
    client = TurntreeClient.connect(server.address());
    repository = new TurntreeSessionRepository(client);
    other = new OtherProgram(client, "s");
  }

  @AfterEach
  void stop() {
    client.close();
    server.close();
  }

  private static Session session(String id, String user) {
    return Session.builder().id(id).userId(user).createdAt(NOW).build();
  }

  private static SessionEvent event(String id, Message message) {
    return SessionEvent.builder().id(id).sessionId("s").message(message).timestamp(NOW).build();
  }

  private static List<String> described(List<SessionEvent> events) {
    return events.stream()
        .map(
            event ->
                event.getId()
                    + event.getSessionId()
                    + event.getTimestamp()
                    + event.getBranch()
                    + event.isArchived()
                    + new TreeMap<>(event.getMetadata())
                    + MessageJson.write(event.getMessage()))
        .toList();
  }

  private List<String> texts(EventFilter filter) {
    return repository.findEvents("s", filter).stream()
        .map(event -> String.valueOf(event.getMessage().getText()))
        .toList();
  }

  /** A session comes back as it was saved, and saving it again keeps its events. */
  @Test
  void sessions() {
    assertNull(repository.findById("s"));
    var saved =
        Session.builder()
            .id("s")
            .userId("ada é🌳")
            .createdAt(NOW)
            .expiresAt(Instant.now().plus(Duration.ofDays(1)))
            .metadata(Map.of("model", "gpt", "n", 3, "tags", List.of("a", "b")))
            .build();
    repository.save(saved);
    assertSame(saved, repository.findById("s"));
    repository.appendEvent(event("e1", new UserMessage("Hello")));
    var changed = forEver(Session.builder().id("s").userId("ada").createdAt(NOW));
    repository.save(changed.metadata(Map.of("n", 4)).build());
    assertSame(changed.build(), repository.findById("s"));
    assertEquals(List.of("Hello"), texts(EventFilter.all()));
    repository.delete("s");
    assertNull(repository.findById("s"));
    repository.delete("s");
  }

  /** Spring AI says null for what never expires. */
  @SuppressWarnings("NullAway")
  private static Session.Builder forEver(Session.Builder session) {
    return session.expiresAt(null);
  }

  private static void assertSame(Session expected, @Nullable Session session) {
    assertNotNull(session);
    assertEquals(expected.id(), session.id());
    assertEquals(expected.userId(), session.userId());
    assertEquals(expected.createdAt(), session.createdAt());
    assertEquals(expected.expiresAt(), session.expiresAt());
    assertEquals(expected.metadata(), session.metadata());
  }

  /** Sessions are found by their user and by their expiry; those of other programs are not. */
  @Test
  void finds() {
    other.add(user("Hello"));
    assertNull(repository.findById("s"));
    repository.save(session("1", "ada"));
    repository.save(session("2", "ada"));
    repository.save(session("3", "bob"));
    var ids = repository.findByUserId("ada").stream().map(Session::id).toList();
    assertEquals(new TreeSet<>(List.of("1", "2")), new TreeSet<>(ids));
    assertEquals(List.of(), repository.findExpiredSessionIds(Instant.now()));
    var far = Instant.now().plus(Duration.ofDays(100));
    assertEquals(3, repository.findExpiredSessionIds(far).size());
  }

  /** A session that another program began is taken over with all that is in it. */
  @Test
  void takesOver() {
    other.add(user("1"), reasoning("r"), assistant("2"));
    repository.save(session("s", "ada"));
    assertEquals(List.of("1", "2"), texts(EventFilter.all()));
    repository.appendEvent(event("e1", new UserMessage("3")));
    assertEquals(List.of(user("1"), reasoning("r"), assistant("2"), user("3")), other.items());
    List<SessionEvent> events = repository.findEvents("s", EventFilter.all());
    assertEquals(
        List.of("item-0", "item-1", "e1"), events.stream().map(SessionEvent::getId).toList());
    long version = repository.getEventVersion("s");
    assertTrue(repository.compactEvents("s", events.subList(0, 1), events.subList(1, 3), version));
    assertEquals(List.of("2", "3"), texts(EventFilter.active()));
    assertEquals(List.of("1", "2", "3"), texts(EventFilter.all()));
    assertEquals(List.of(reasoning("r"), assistant("2"), user("3")), other.items().subList(1, 4));
  }

  /** Events need a session, of which none has no events and the version 0. */
  @Test
  void absent() {
    var event = event("e1", new UserMessage("Hello"));
    assertThrows(IllegalArgumentException.class, () -> repository.appendEvent(event));
    assertThrows(
        IllegalArgumentException.class,
        () -> repository.compactEvents("s", List.of(), List.of(event), 0));
    assertEquals(List.of(), repository.findEvents("s", EventFilter.all()));
    assertEquals(0, repository.getEventVersion("s"));
  }

  /** Whatever is done, the events are those that Spring AI's own repository has. */
  @Test
  void likeInMemory() {
    long seed = new Random().nextLong();
    Random random = new Random(seed);
    SessionRepository memory = InMemorySessionRepository.builder().build();
    List<Message> samples = Samples.messages();
    for (SessionRepository each : List.of(memory, repository)) {
      each.save(session("s", "ada"));
    }
    for (int step = 0; step < 120; step++) {
      if (step % 30 == 29) {
        for (SessionRepository each : List.of(memory, repository)) {
          var service = DefaultSessionService.builder().sessionRepository(each).build();
          var window = SlidingWindowCompactionStrategy.builder().maxEvents(5).build();
          service.compact("s", request -> true, window);
        }
      } else {
        var event =
            SessionEvent.builder()
                .id("event " + step)
                .sessionId("s")
                .message(samples.get(random.nextInt(samples.size())))
                .timestamp(NOW.plusSeconds(step))
                .metadata(step % 3 == 0 ? Map.of("synthetic", true, "n", step) : Map.of())
                .branch(step % 4 == 0 ? "orch.researcher" : null)
                .build();
        memory.appendEvent(event);
        repository.appendEvent(event);
      }
      if (step % 10 == 9) {
        repository = new TurntreeSessionRepository(client);
        for (EventFilter filter : filters()) {
          assertEquals(
              described(memory.findEvents("s", filter)),
              described(repository.findEvents("s", filter)),
              "seed " + seed + " " + filter);
        }
      }
    }
  }

  private static List<EventFilter> filters() {
    return List.of(
        EventFilter.all(),
        EventFilter.active(),
        EventFilter.lastN(3),
        EventFilter.lastN(1_000),
        EventFilter.realOnly(),
        EventFilter.forBranch("orch"),
        EventFilter.keywordSearch("hello", 0, 2),
        EventFilter.keywordSearch("hello", 1, 2),
        EventFilter.builder().page(7).pageSize(1_000).build(),
        EventFilter.builder().from(NOW.plusSeconds(50)).to(NOW.plusSeconds(60)).build());
  }

  /** A compaction of a session that others have changed since does nothing. */
  @Test
  void compactsWhatWasSeen() {
    repository.save(session("s", "ada"));
    repository.appendEvent(event("e1", new UserMessage("1")));
    long version = repository.getEventVersion("s");
    assertEquals(version, repository.getEventVersion("s"));
    List<SessionEvent> events = repository.findEvents("s", EventFilter.all());
    other.add(assistant("2"));
    assertNotEquals(version, repository.getEventVersion("s"));
    assertFalse(repository.compactEvents("s", events, List.of(), version));
    assertEquals(List.of("1", "2"), texts(EventFilter.active()));
    long now = repository.getEventVersion("s");
    assertTrue(
        repository.compactEvents(
            "s", events, List.of(event("e2", new AssistantMessage("So far: 1"))), now));
    assertEquals(List.of("1", "So far: 1"), texts(EventFilter.all()));
    assertEquals(List.of("So far: 1"), texts(EventFilter.active()));
  }

  /** Threads and programs that append at once lose nothing. */
  @Test
  void racing() {
    repository.save(session("s", "ada"));
    List<CompletableFuture<Void>> writers = new ArrayList<>();
    var another = new TurntreeSessionRepository(client);
    for (var each : List.of(repository, repository, another)) {
      writers.add(
          CompletableFuture.runAsync(
              () -> {
                for (int number = 0; number < 15; number++) {
                  each.appendEvent(
                      SessionEvent.builder().sessionId("s").message(new UserMessage("x")).build());
                }
              }));
    }
    writers.forEach(CompletableFuture::join);
    assertEquals(45, repository.findEvents("s", EventFilter.all()).size());
    assertEquals(45, other.items().size());
  }

  /** An agent with Spring AI's advisor goes on with what another program said. */
  @Test
  void agent() {
    other.add(user("Hello"), assistant("Hi"));
    var model = new AgentTest.ScriptedModel();
    model.answers.addAll(
        Arrays.asList(new AssistantMessage("Sunny."), new AssistantMessage("Still.")));
    var service = DefaultSessionService.builder().sessionRepository(repository).build();
    var agent =
        ChatClient.builder(model)
            .defaultAdvisors(SessionMemoryAdvisor.builder(service).defaultUserId("ada").build())
            .defaultAdvisors(
                advisors -> advisors.param(SessionMemoryAdvisor.SESSION_ID_CONTEXT_KEY, "s"))
            .build();
    assertEquals("Sunny.", agent.prompt("Weather?").call().content());
    assertEquals("Still.", agent.prompt("And now?").call().content());
    assertEquals(5, model.asked.get(1).size());
    assertEquals(6, other.items().size());
    assertEquals(List.of("s"), repository.findByUserId("ada").stream().map(Session::id).toList());
  }
}
