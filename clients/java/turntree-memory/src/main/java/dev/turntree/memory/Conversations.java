package dev.turntree.memory;

import com.google.protobuf.ByteString;
import dev.turntree.TurntreeClient;
import dev.turntree.TurntreeException;
import dev.turntree.TurntreeSession;
import dev.turntree.memory.Seen.Key;
import dev.turntree.memory.Seen.State;
import dev.turntree.v1.AddItemsRequest;
import dev.turntree.v1.DeleteSessionRequest;
import dev.turntree.v1.DeltaKind;
import dev.turntree.v1.ErrorReason;
import dev.turntree.v1.GetItemsRequest;
import dev.turntree.v1.ItemsDelta;
import dev.turntree.v1.ListSessionsRequest;
import dev.turntree.v1.NativeItem;
import dev.turntree.v1.ReplaceItemsRequest;
import dev.turntree.v1.Session;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.locks.LockSupport;
import java.util.function.UnaryOperator;

/**
 * Conversations as whole lists of a framework's messages, which are read, written and deleted by
 * the session's id. Safe for use by many threads.
 *
 * <p>A list is stored as a change of the end of the branch: after the common prefix with what is
 * there, items are removed and others added, in one call, which happens whole or not at all.
 * Messages that stay in the list stay byte for byte, whoever wrote them, and so do the items before
 * them that the framework does not know, such as reasoning.
 *
 * @param <M> the framework's message
 */
public final class Conversations<M> {
  private static final int TRIES_MAX = 100;
  private static final long WAIT_MAX_NANOS = 10_000_000;

  private final TurntreeClient client;
  private final Dialect<M> dialect;
  private final Map<String, TurntreeSession> sessions = new ConcurrentHashMap<>();
  private final Seen seen = new Seen();

  /** Conversations on a server, in a framework's dialect. The client remains the caller's. */
  public Conversations(TurntreeClient client, Dialect<M> dialect) {
    this.client = client;
    this.dialect = dialect;
  }

  /**
   * The handle of a conversation, kept for as long as this lives. Branch it, or switch to another
   * branch, and lists are read and written there. Without one they are those of {@code main}.
   */
  public TurntreeSession session(String sessionId) {
    return sessions.computeIfAbsent(sessionId, client::session);
  }

  private TurntreeSession current(String sessionId) {
    TurntreeSession kept = sessions.get(sessionId);
    return kept == null ? client.session(sessionId) : kept;
  }

  /** All messages of a conversation, oldest first; of a conversation that is not there, none. */
  public List<M> read(String sessionId) {
    TurntreeSession session = current(sessionId);
    State known = seen.get(key(session));
    State now = refreshed(session, known == null ? State.NOTHING : known);
    return owns(now);
  }

  /**
   * Makes a conversation consist of these messages.
   *
   * <p>They are understood as a change of what was last read or written here. If another program
   * has written since, both changes are made: nothing that it added is lost, nothing that it
   * removed comes back. After an error the same list can be written again, whether or not the
   * change was made.
   *
   * @throws TurntreeException CURSOR_MISMATCH if others were faster a hundred times in a row
   */
  public void write(String sessionId, List<? extends M> messages) {
    TurntreeSession session = current(sessionId);
    write(session, known(session), Message.all(dialect, messages));
  }

  /**
   * Adds messages to a conversation, after whatever others add at the same time. Each has its
   * native form beside it, so that it is read as it is wherever it comes to stand.
   */
  public void append(String sessionId, List<? extends M> messages) {
    List<StoredItem> added = Draft.withNatives(dialect, messages);
    var request = AddItemsRequest.newBuilder().addAllNatives(natives(added));
    added.forEach(item -> request.addItems(item.item()));
    current(sessionId).addItems(request.build());
  }

  /**
   * Changes a conversation if it is at a version, in one call: all of it or nothing.
   *
   * @param change the messages that are to be, from those that are
   * @return whether the conversation was at the version, and was changed
   */
  public boolean change(String sessionId, long version, UnaryOperator<List<M>> change) {
    TurntreeSession session = current(sessionId);
    State before = refreshed(session, known(session));
    if (version(before) != version) {
      return false;
    }
    List<M> wanted = change.apply(owns(before));
    try {
      make(session, before, Change.to(dialect, before.items(), Message.all(dialect, wanted)));
      return true;
    } catch (TurntreeException error) {
      if (error.reason() == ErrorReason.ERROR_REASON_CURSOR_MISMATCH) {
        return false;
      }
      throw error;
    }
  }

  /** A number that is another after every change of a conversation; 0 while it has no items. */
  public long version(String sessionId) {
    TurntreeSession session = current(sessionId);
    return version(refreshed(session, known(session)));
  }

  private static long version(State state) {
    if (state.items().isEmpty()) {
      return 0;
    }
    byte[] name = state.cursor().toByteArray();
    return UUID.nameUUIDFromBytes(name).getLeastSignificantBits();
  }

  private State known(TurntreeSession session) {
    State known = seen.get(key(session));
    return known == null ? refreshed(session, State.NOTHING) : known;
  }

  private void write(TurntreeSession session, State before, List<Message<M>> wanted) {
    for (int tries = 1; ; tries++) {
      try {
        make(session, before, Change.to(dialect, before.items(), wanted));
        return;
      } catch (TurntreeException error) {
        if (error.reason() != ErrorReason.ERROR_REASON_CURSOR_MISMATCH || tries == TRIES_MAX) {
          throw error;
        }
        // Two who are in step would lose to each other in turns.
        LockSupport.parkNanos(ThreadLocalRandom.current().nextLong(WAIT_MAX_NANOS));
        State now = refreshed(session, before);
        wanted = Merge.of(messages(before.begunWith(now)), messages(now), wanted);
        before = now;
      }
    }
  }

  /** Removes a conversation with all that belongs to it: branches, usage and labels too. */
  public void delete(String sessionId) {
    seen.remove(key(current(sessionId)));
    try {
      client.deleteSession(DeleteSessionRequest.newBuilder().setSessionId(sessionId).build());
    } catch (TurntreeException error) {
      if (error.reason() != ErrorReason.ERROR_REASON_SESSION_NOT_FOUND) {
        throw error;
      }
    }
  }

  /** The ids of all sessions that the client may see, the last active first. */
  public List<String> sessionIds() {
    List<String> ids = new ArrayList<>();
    var request = ListSessionsRequest.newBuilder().setPageSize(1_000).build();
    for (var page : client.pages(client::listSessions, request)) {
      page.getSessionsList().stream().map(Session::getSessionId).forEach(ids::add);
    }
    return ids;
  }

  private List<M> owns(State state) {
    List<M> messages = new ArrayList<>();
    messages(state).forEach(message -> messages.add(message.own()));
    return messages;
  }

  private List<Message<M>> messages(State state) {
    return Transcript.of(dialect, state.items()).messages();
  }

  private static Key key(TurntreeSession session) {
    return new Key(session.sessionId(), session.branch().getBranchId());
  }

  /** Reads what is new since a state, and keeps what came of it. */
  private State refreshed(TurntreeSession session, State state) {
    List<StoredItem> items = new ArrayList<>(state.items());
    ByteString cursor = state.cursor();
    ItemsDelta delta;
    do {
      var request = GetItemsRequest.newBuilder().setNativeDialect(dialect.name());
      if (!cursor.isEmpty()) {
        request.setCursor(cursor);
      }
      delta = session.readItems(request.build());
      if (delta.getKind() == DeltaKind.DELTA_KIND_REPLACED) {
        items.clear();
      }
      items.addAll(stored(delta));
      cursor = delta.getCursor();
    } while (delta.getMore());
    return kept(session, new State(List.copyOf(items), cursor));
  }

  private static List<StoredItem> stored(ItemsDelta delta) {
    List<StoredItem> items = new ArrayList<>();
    delta.getItemsList().forEach(item -> items.add(new StoredItem(item, null)));
    for (NativeItem form : delta.getNativesList()) {
      int index = (int) form.getIndex();
      items.set(index, new StoredItem(items.get(index).item(), form.getNative()));
    }
    return items;
  }

  private void make(TurntreeSession session, State before, Change change) {
    if (change.isNothing()) {
      return;
    }
    List<ByteString> items = change.added().stream().map(StoredItem::item).toList();
    List<StoredItem> result = List.copyOf(change.result());
    ByteString cursor;
    try {
      if (change.removed() == 0) {
        var request = AddItemsRequest.newBuilder().addAllItems(items);
        request.addAllNatives(natives(change.added())).setExpectedCursor(before.cursor());
        cursor = session.addItems(request.build()).getCursor();
      } else {
        var request = ReplaceItemsRequest.newBuilder().addAllItems(items);
        request.addAllNatives(natives(change.added())).setExpectedCursor(before.cursor());
        cursor = session.replaceItems(request.setRemoveCount(change.removed()).build()).getCursor();
      }
    } catch (TurntreeException error) {
      if (error.reason() != ErrorReason.ERROR_REASON_CURSOR_MISMATCH) {
        kept(session, new State(before.items(), before.cursor(), result)); // it may have been made
      }
      throw error;
    }
    kept(session, new State(result, cursor));
  }

  private List<NativeItem> natives(List<StoredItem> items) {
    List<NativeItem> natives = new ArrayList<>();
    for (int index = 0; index < items.size(); index++) {
      ByteString form = items.get(index).nativeForm();
      if (form != null) {
        var item = NativeItem.newBuilder().setIndex(index).setDialect(dialect.name());
        natives.add(item.setNative(form).build());
      }
    }
    return natives;
  }

  private State kept(TurntreeSession session, State state) {
    seen.put(key(session), state);
    return state;
  }
}
