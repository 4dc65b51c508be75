package dev.turntree.langchain4j;

import dev.langchain4j.data.message.ChatMessage;
import dev.langchain4j.store.memory.chat.ChatMemoryStore;
import dev.turntree.TurntreeClient;
import dev.turntree.TurntreeException;
import dev.turntree.TurntreeSession;
import dev.turntree.memory.Conversations;
import java.util.List;
import java.util.UUID;
import java.util.function.Function;

/**
 * The chat memory of LangChain4j's agents, kept by a turntree server. A memory's id names the
 * session. Safe for use by many threads; a conversation has one call at a time, as LangChain4j asks
 * for.
 *
 * <p>Messages are stored in the OpenAI Responses form, which every reader of the session
 * understands; what that form cannot say is kept beside it, and comes back. Messages that other
 * programs wrote are read as LangChain4j's; items without a counterpart, such as reasoning, are not
 * shown, and stay.
 *
 * <p>The session is what the memory says it is: what a memory with a window evicts is removed from
 * the session, for every reader. To keep a history whole, let the memory {@linkplain #session go on
 * a branch}: what it evicts there, {@code main} still has.
 *
 * <p>Its methods fail with a {@link TurntreeException}.
 */
public final class TurntreeChatMemoryStore implements ChatMemoryStore {
  /** The dialect of the messages that are kept beside their items: LangChain4j's own JSON. */
  public static final String DIALECT = "langchain4j/1";

  private final Conversations<ChatMessage> conversations;
  private final Function<Object, String> sessionIds;

  /**
   * A store on a server, for memory ids that are texts, numbers, UUIDs, enums or records; what they
   * are as text is the session's id. The client remains the caller's.
   */
  public TurntreeChatMemoryStore(TurntreeClient client) {
    this(client, TurntreeChatMemoryStore::sessionId);
  }

  /**
   * A store on a server, for memory ids of any class.
   *
   * @param sessionIds the session's id for a memory's id, always the same for the same
   */
  public TurntreeChatMemoryStore(TurntreeClient client, Function<Object, String> sessionIds) {
    this.conversations = new Conversations<>(client, new LangChain4jDialect());
    this.sessionIds = sessionIds;
  }

  private static String sessionId(Object memoryId) {
    boolean isText = memoryId instanceof CharSequence || memoryId instanceof Character;
    boolean isName = memoryId instanceof Enum || memoryId instanceof UUID;
    boolean isValue = memoryId instanceof Number || memoryId instanceof Record;
    if (isText || isName || isValue) {
      return memoryId.toString();
    }
    throw new IllegalArgumentException(
        "a memory id is of "
            + memoryId.getClass().getName()
            + "; it must be a text, number, UUID, enum or record, unless the store has a function"
            + " that names its session");
  }

  /**
   * The handle of a conversation, kept for as long as the store lives: branch it, or switch to
   * another branch, and the memory goes on there.
   */
  public TurntreeSession session(Object memoryId) {
    return conversations.session(sessionIds.apply(memoryId));
  }

  @Override
  public List<ChatMessage> getMessages(Object memoryId) {
    return conversations.read(sessionIds.apply(memoryId));
  }

  /**
   * Makes a conversation consist of these messages, in one call: all of it or nothing. If another
   * program has written since the messages were read, what it wrote stays, before what is new here.
   */
  @Override
  public void updateMessages(Object memoryId, List<ChatMessage> messages) {
    conversations.write(sessionIds.apply(memoryId), messages);
  }

  /** Removes the session with all that belongs to it: branches, usage and labels too. */
  @Override
  public void deleteMessages(Object memoryId) {
    conversations.delete(sessionIds.apply(memoryId));
  }
}
