package dev.turntree.springai;

import dev.turntree.TurntreeClient;
import dev.turntree.TurntreeException;
import dev.turntree.TurntreeSession;
import dev.turntree.memory.Conversations;
import java.util.List;
import org.springframework.ai.chat.memory.ChatMemoryRepository;
import org.springframework.ai.chat.messages.Message;

/**
 * The chat memory of Spring AI's agents, kept by a turntree server. A conversation's id is the
 * session's. Safe for use by many threads; a conversation has one call at a time, as Spring AI's
 * memories read a list and write it back.
 *
 * <p>Messages are stored in the OpenAI Responses form, which every reader of the session
 * understands; what that form cannot say is kept beside it, and comes back. Messages that other
 * programs wrote are read as Spring AI's; items without a counterpart, such as reasoning, are not
 * shown, and stay.
 *
 * <p>The session is what the memory says it is: what a memory with a window leaves out is removed
 * from the session, for every reader. To keep a history whole, let the memory {@linkplain #session
 * go on a branch}: what it leaves out there, {@code main} still has.
 *
 * <p>Its methods fail with a {@link TurntreeException}.
 */
public final class TurntreeChatMemoryRepository implements ChatMemoryRepository {
  /** The dialect of the messages that are kept beside their items. */
  public static final String DIALECT = "spring-ai/1";

  private final Conversations<Message> conversations;

  /** A repository on a server. The client remains the caller's. */
  public TurntreeChatMemoryRepository(TurntreeClient client) {
    conversations = new Conversations<>(client, new SpringAiDialect());
  }

  /**
   * The handle of a conversation, kept for as long as the repository lives: branch it, or switch to
   * another branch, and the memory goes on there.
   */
  public TurntreeSession session(String conversationId) {
    return conversations.session(conversationId);
  }

  /** All sessions that the client may see, whoever wrote them; the last active first. */
  @Override
  public List<String> findConversationIds() {
    return conversations.sessionIds();
  }

  @Override
  public List<Message> findByConversationId(String conversationId) {
    return conversations.read(conversationId);
  }

  /**
   * Makes a conversation consist of these messages, in one call: all of it or nothing. If another
   * program has written since the messages were read, what it wrote stays, before what is new here.
   */
  @Override
  public void saveAll(String conversationId, List<Message> messages) {
    conversations.write(conversationId, messages);
  }

  /** Removes the session with all that belongs to it: branches, usage and labels too. */
  @Override
  public void deleteByConversationId(String conversationId) {
    conversations.delete(conversationId);
  }
}
