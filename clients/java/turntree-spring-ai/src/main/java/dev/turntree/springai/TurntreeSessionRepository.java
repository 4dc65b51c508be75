package dev.turntree.springai;

import dev.turntree.TurntreeClient;
import dev.turntree.TurntreeException;
import dev.turntree.TurntreeSession;
import dev.turntree.memory.Conversations;
import dev.turntree.v1.ErrorReason;
import dev.turntree.v1.GetSessionRequest;
import dev.turntree.v1.ListSessionsRequest;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import org.jspecify.annotations.Nullable;
import org.springframework.ai.session.EventFilter;
import org.springframework.ai.session.Session;
import org.springframework.ai.session.SessionEvent;
import org.springframework.ai.session.SessionRepository;

/**
 * The sessions of {@code spring-ai-session}, kept by a turntree server. Safe for use by many
 * threads.
 *
 * <p>An event is stored as the items of its message, which every reader of the session understands,
 * with the event itself beside them. Messages that other programs wrote are events too, named by
 * their place, of the beginning of 1970. Events that a compaction archives stay in the session,
 * marked for Spring AI alone: other programs see them and the summary. A session's user, times and
 * metadata are labels: a value is at most 256 bytes of JSON.
 *
 * <p>Its methods fail with a {@link TurntreeException}.
 */
public final class TurntreeSessionRepository implements SessionRepository {
  /** The dialect of the events that are kept beside their items. */
  public static final String DIALECT = "spring-ai-session/1";

  private final TurntreeClient client;
  private final Conversations<Event> conversations;

  /** A repository on a server. The client remains the caller's. */
  public TurntreeSessionRepository(TurntreeClient client) {
    this.client = client;
    this.conversations = new Conversations<>(client, new EventDialect());
  }

  /**
   * The handle of a session, kept for as long as the repository lives: branch it, or switch to
   * another branch, and the events go on there.
   */
  public TurntreeSession session(String sessionId) {
    return conversations.session(sessionId);
  }

  /** Persists a session's metadata; its events stay, also those that are another program's. */
  @Override
  public Session save(Session session) {
    var stored = find(session.id());
    Map<String, String> before = stored == null ? Map.of() : stored.getLabelsMap();
    client.updateSession(SessionLabels.update(session, before));
    return session;
  }

  private dev.turntree.v1.@Nullable Session find(String sessionId) {
    try {
      var request = GetSessionRequest.newBuilder().setSessionId(sessionId).build();
      return client.getSession(request).getSession();
    } catch (TurntreeException error) {
      if (error.reason() == ErrorReason.ERROR_REASON_SESSION_NOT_FOUND) {
        return null;
      }
      throw error;
    }
  }

  /** The session; null also for one that no repository of Spring AI has saved. */
  @Override
  public @Nullable Session findById(String sessionId) {
    var stored = find(sessionId);
    return stored == null ? null : SessionLabels.session(stored);
  }

  @Override
  public List<Session> findByUserId(String userId) {
    return list(SessionLabels.USER, userId);
  }

  /** Sessions that are to expire before a time; one that has expired is gone by itself. */
  @Override
  public List<String> findExpiredSessionIds(Instant before) {
    List<String> ids = new ArrayList<>();
    for (Session session : list(SessionLabels.KIND, "session")) {
      Instant expires = session.expiresAt();
      if (expires != null && expires.isBefore(before)) {
        ids.add(session.id());
      }
    }
    return ids;
  }

  private List<Session> list(String label, String value) {
    var request = ListSessionsRequest.newBuilder().putLabels(label, value).setPageSize(1_000);
    List<Session> sessions = new ArrayList<>();
    for (var page : client.pages(client::listSessions, request.build())) {
      page.getSessionsList().stream()
          .map(SessionLabels::session)
          .filter(Objects::nonNull)
          .forEach(sessions::add);
    }
    return sessions;
  }

  @Override
  public void delete(String sessionId) {
    conversations.delete(sessionId);
  }

  @Override
  public void appendEvent(SessionEvent event) {
    requireSession(event.getSessionId());
    conversations.append(event.getSessionId(), List.of(Event.of(event)));
  }

  private void requireSession(String sessionId) {
    if (findById(sessionId) == null) {
      throw new IllegalArgumentException("session '" + sessionId + "' is not found");
    }
  }

  @Override
  public boolean compactEvents(
      String sessionId,
      List<SessionEvent> archivedEvents,
      List<SessionEvent> retainedEvents,
      long expectedVersion) {
    requireSession(sessionId);
    return conversations.change(
        sessionId,
        expectedVersion,
        events -> {
          List<Event> compacted = new ArrayList<>();
          events.stream().filter(TurntreeSessionRepository::isArchived).forEach(compacted::add);
          archivedEvents.forEach(event -> compacted.add(Event.of(event.asArchived())));
          retainedEvents.forEach(event -> compacted.add(Event.of(event)));
          return compacted;
        });
  }

  private static boolean isArchived(Event event) {
    return event.own() != null && event.own().isArchived();
  }

  @Override
  public long getEventVersion(String sessionId) {
    return conversations.version(sessionId);
  }

  @Override
  public List<SessionEvent> findEvents(String sessionId, EventFilter filter) {
    List<SessionEvent> found = new ArrayList<>();
    int place = 0;
    for (Event event : conversations.read(sessionId)) {
      SessionEvent one = event.in(sessionId, place++);
      if (filter.matches(one)) {
        found.add(one);
      }
    }
    Integer last = filter.lastN();
    Integer page = filter.page();
    Integer size = filter.pageSize();
    if (last != null) {
      return found.subList(Math.max(0, found.size() - last), found.size());
    }
    if (page != null && size != null) {
      long from = Math.min(found.size(), (long) page * size);
      return found.subList((int) from, (int) Math.min(found.size(), from + size));
    }
    return found;
  }
}
