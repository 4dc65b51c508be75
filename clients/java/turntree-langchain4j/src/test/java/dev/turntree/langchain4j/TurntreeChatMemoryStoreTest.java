package dev.turntree.langchain4j;

import static dev.turntree.memory.OtherProgram.assistant;
import static dev.turntree.memory.OtherProgram.call;
import static dev.turntree.memory.OtherProgram.output;
import static dev.turntree.memory.OtherProgram.reasoning;
import static dev.turntree.memory.OtherProgram.user;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.protobuf.ByteString;
import dev.langchain4j.agent.tool.ToolExecutionRequest;
import dev.langchain4j.data.message.AiMessage;
import dev.langchain4j.data.message.ChatMessage;
import dev.langchain4j.data.message.SystemMessage;
import dev.langchain4j.data.message.TextContent;
import dev.langchain4j.data.message.ToolExecutionResultMessage;
import dev.langchain4j.data.message.UserMessage;
import dev.langchain4j.memory.ChatMemory;
import dev.langchain4j.memory.chat.MessageWindowChatMemory;
import dev.turntree.TurntreeClient;
import dev.turntree.TurntreeException;
import dev.turntree.memory.OtherProgram;
import dev.turntree.testing.Server;
import dev.turntree.v1.AddItemsRequest;
import dev.turntree.v1.GetSessionRequest;
import dev.turntree.v1.NativeItem;
import java.util.ArrayList;
import java.util.List;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInfo;
import org.junit.jupiter.api.Timeout;

@Timeout(120)
class TurntreeChatMemoryStoreTest {
  private static Server server;
  private static TurntreeClient client;
  private TurntreeChatMemoryStore store;
  private OtherProgram other;
  private String id;

  @BeforeAll
  static void start() {
    server = Server.start();
    client = TurntreeClient.connect(server.address());
  }

  @AfterAll
  static void stop() {
    client.close();
    server.close();
  }

  @BeforeEach
  void open(TestInfo test) {
    id = test.getDisplayName();
    store = new TurntreeChatMemoryStore(client);
    other = new OtherProgram(client, id);
  }

  private ChatMemory window(int messages) {
    return MessageWindowChatMemory.builder()
        .id(id)
        .maxMessages(messages)
        .chatMemoryStore(store)
        .build();
  }

  private static List<ChatMessage> plus(List<ChatMessage> messages, ChatMessage... more) {
    List<ChatMessage> all = new ArrayList<>(messages);
    all.addAll(List.of(more));
    return all;
  }

  /** A conversation that was never written has no messages, and can be deleted. */
  @Test
  void absent() {
    assertEquals(List.of(), store.getMessages(id));
    store.deleteMessages(id);
    assertEquals(List.of(), store.getMessages(id));
  }

  /** What another program wrote is read as LangChain4j's messages, and goes on as it is. */
  @Test
  void readsOthers() {
    String[] history = {
      "{\"role\":\"developer\",\"content\":\"Be brief.\"}",
      "{\"type\":\"message\",\"role\":\"user\",\"content\":"
          + "[{\"type\":\"input_text\",\"text\":\"Weather?\"}]}",
      reasoning("r1"),
      call("c1", "weather"),
      call("c2", "clock"),
      output("c1", "Sunny"),
      "{\"type\":\"function_call_output\",\"call_id\":\"c2\",\"output\":"
          + "[{\"type\":\"input_text\",\"text\":\"noon\"}]}",
      reasoning("r2"),
      assistant("Sunny at noon."),
      "{\"type\":\"web_search_call\",\"id\":\"ws_1\",\"status\":\"completed\"}"
    };
    other.add(history);
    List<ChatMessage> read = store.getMessages(id);
    var calls =
        List.of(
            ToolExecutionRequest.builder().id("c1").name("weather").arguments("{}").build(),
            ToolExecutionRequest.builder().id("c2").name("clock").arguments("{}").build());
    assertEquals(
        List.of(
            SystemMessage.from("Be brief."),
            UserMessage.from("Weather?"),
            AiMessage.from(calls),
            result("c1", "weather", "Sunny"),
            result("c2", "clock", "noon"),
            AiMessage.from("Sunny at noon.")),
        read);

    store.updateMessages(id, plus(read, UserMessage.from("Thanks."), AiMessage.from("Bye.")));
    List<String> items = other.items();
    assertEquals(List.of(history), items.subList(0, history.length));
    assertEquals(user("Thanks."), items.get(history.length));
    assertEquals(history.length + 2, items.size());
  }

  private static ChatMessage result(String callId, String tool, String text) {
    return ToolExecutionResultMessage.builder()
        .id(callId)
        .toolName(tool)
        .contents(TextContent.from(text))
        .isError(false)
        .build();
  }

  /** Whatever items another program wrote, reading them fails for none and drops none. */
  @Test
  void readsAnything() {
    List<String> odd = new ArrayList<>();
    for (String value : List.of("null", "1", "\"\"", "[]", "{}", "[null]", "[[1]]", "true")) {
      odd.add(value);
      odd.add("{\"type\":" + value + "}");
      odd.add("{\"type\":\"function_call_output\",\"call_id\":\"c\",\"output\":" + value + "}");
      odd.add("{\"type\":\"function_call\",\"call_id\":" + value + ",\"name\":\"n\"}");
      for (String role : List.of("user", "assistant", "system", "developer", "critic")) {
        odd.add("{\"role\":\"" + role + "\",\"content\":" + value + "}");
        odd.add("{\"role\":\"" + role + "\",\"content\":[{\"type\":" + value + "}]}");
      }
      for (String type : List.of("input_image", "input_file", "input_audio", "input_text")) {
        for (String key : List.of("image_url", "file_data", "file_url", "input_audio", "text")) {
          String part = "{\"type\":\"" + type + "\",\"" + key + "\":" + value + "}";
          odd.add("{\"role\":\"user\",\"content\":[" + part + "]}");
        }
      }
    }
    odd.add(call("c", "tool"));
    for (String url : List.of(":", "data:", "data:x;base64,?", "data:image/png;base64,", "é 🌳")) {
      odd.add(
          "{\"role\":\"user\",\"content\":[{\"type\":\"input_image\",\"image_url\":\""
              + url
              + "\"},{\"type\":\"input_file\",\"file_data\":\""
              + url
              + "\"}]}");
    }
    other.add(odd.toArray(String[]::new));
    List<ChatMessage> read = store.getMessages(id);
    store.updateMessages(id, plus(read, UserMessage.from("Hello")));
    assertEquals(odd, other.items().subList(0, odd.size()));
    assertEquals(odd.size() + 1, other.items().size());
    assertEquals(plus(read, UserMessage.from("Hello")), store.getMessages(id));
  }

  /**
   * A native form that cannot be read, because a newer version wrote it, is as if it were not
   * there.
   */
  @Test
  void unreadableNatives() {
    var request =
        AddItemsRequest.newBuilder()
            .setSessionId(id)
            .addItems(ByteString.copyFromUtf8(user("Hello")));
    for (String form : List.of("{\"type\":\"HOLOGRAM\"}", "[]", "7", "null", "\"\"")) {
      var natives =
          NativeItem.newBuilder()
              .setDialect(TurntreeChatMemoryStore.DIALECT)
              .setNative(ByteString.copyFromUtf8(form));
      client.addItems(request.clone().addNatives(natives).build());
    }
    ChatMessage hello = UserMessage.from("Hello");
    assertEquals(List.of(hello, hello, hello, hello, hello), store.getMessages(id));
  }

  /**
   * What a window evicts is removed from the session; what stays is byte for byte what it was, and
   * so are the hidden items before it.
   */
  @Test
  void windowEvicts() {
    other.add(user("1"), reasoning("r1"), assistant("2"), user("3"), reasoning("r2"));
    other.add(assistant("4"));
    ChatMemory memory = window(4);
    memory.add(SystemMessage.from("Be brief."));
    memory.add(UserMessage.from("5"));
    assertEquals(
        List.of(
            UserMessage.from("3"),
            AiMessage.from("4"),
            SystemMessage.from("Be brief."),
            UserMessage.from("5")),
        memory.messages());
    assertEquals(
        List.of(
            user("3"),
            reasoning("r2"),
            assistant("4"),
            "{\"role\":\"system\",\"content\":\"Be brief.\"}",
            user("5")),
        other.items());
  }

  /** A window over calls of tools evicts calls with their results, and is read back as it is. */
  @Test
  void windowOverTools() {
    ChatMemory memory = window(5);
    ChatMemory expected = MessageWindowChatMemory.withMaxMessages(5);
    for (ChatMessage message : Samples.messages()) {
      memory.add(message);
      expected.add(message);
      assertEquals(expected.messages(), memory.messages());
    }
    store = new TurntreeChatMemoryStore(client);
    assertEquals(expected.messages(), window(5).messages());
  }

  /** What a window evicts on a branch, main still has. */
  @Test
  void windowOnBranch() {
    other.add(user("1"), assistant("2"), user("3"), assistant("4"));
    store.session(id).branchHere("java");
    ChatMemory memory = window(2);
    memory.add(UserMessage.from("5"));
    assertEquals(List.of(AiMessage.from("4"), UserMessage.from("5")), memory.messages());
    assertEquals(List.of(user("1"), assistant("2"), user("3"), assistant("4")), other.items());
    store.session(id).switchTo("main");
    assertEquals(4, store.getMessages(id).size());
  }

  /** A system message that changes takes the place of the former one, and all else stays. */
  @Test
  void systemMessageChanges() {
    ChatMemory memory = window(10);
    memory.add(SystemMessage.from("Be brief."));
    memory.add(UserMessage.from("1"));
    other.add(reasoning("r1"), assistant("2"));
    memory.add(SystemMessage.from("Be long."));
    assertEquals(
        List.of(
            user("1"),
            reasoning("r1"),
            assistant("2"),
            "{\"role\":\"system\",\"content\":\"Be long.\"}"),
        other.items());
  }

  /** A shorter list, an empty one and a deletion remove what they leave out. */
  @Test
  void removes() {
    List<ChatMessage> messages = List.of(UserMessage.from("1"), AiMessage.from("2"));
    store.updateMessages(id, messages);
    store.updateMessages(id, messages.subList(0, 1));
    assertEquals(List.of(user("1")), other.items());
    store.updateMessages(id, List.of());
    assertEquals(List.of(), store.getMessages(id));
    store.updateMessages(id, messages);
    window(10).clear();
    var request = GetSessionRequest.newBuilder().setSessionId(id).build();
    assertThrows(TurntreeException.class, () -> client.getSession(request));
    store.updateMessages(id, messages);
    assertEquals(messages, store.getMessages(id));
  }

  /** Without a read before, a list is what the conversation then consists of. */
  @Test
  void writesUnread() {
    other.add(user("1"), assistant("2"));
    store.updateMessages(id, List.of(UserMessage.from("1"), AiMessage.from("3")));
    assertEquals(
        List.of(UserMessage.from("1"), AiMessage.from("3")),
        new TurntreeChatMemoryStore(client).getMessages(id));
    store.updateMessages(id, List.of(UserMessage.from("4")));
    assertEquals(List.of(user("4")), other.items());
  }

  /** What others write, clear and delete after the read, a write takes into account. */
  @Test
  void othersWriteInBetween() {
    store.updateMessages(id, List.of(UserMessage.from("1")));
    List<ChatMessage> read = store.getMessages(id);
    other.add(assistant("2"));
    store.updateMessages(id, plus(read, UserMessage.from("3")));
    assertEquals(List.of(user("1"), assistant("2"), user("3")), other.items());

    read = freshlyRead();
    client.session(id).clear();
    other.add(user("4"));
    store.updateMessages(id, plus(read, UserMessage.from("5")));
    assertEquals(List.of(user("4"), user("5")), other.items());

    read = freshlyRead();
    new TurntreeChatMemoryStore(client).deleteMessages(id);
    store.updateMessages(id, plus(read, UserMessage.from("6")));
    assertEquals(List.of(user("6")), other.items());

    client.session(id).clear();
    other.add(user("7"));
    assertEquals(List.of(UserMessage.from("7")), freshlyRead());
  }

  /** What a store reads that has read before, and one that has not reads too. */
  private List<ChatMessage> freshlyRead() {
    List<ChatMessage> read = store.getMessages(id);
    assertEquals(new TurntreeChatMemoryStore(client).getMessages(id), read);
    return read;
  }

  /**
   * Two programs that write at once lose nothing of each other, keep their own order, and read what
   * is there.
   */
  @Test
  void racing() {
    try (TurntreeClient another = TurntreeClient.connect(server.address())) {
      var stores = List.of(store, new TurntreeChatMemoryStore(another));
      List<CompletableFuture<Void>> writers = new ArrayList<>();
      for (int writer = 0; writer < stores.size(); writer++) {
        TurntreeChatMemoryStore mine = stores.get(writer);
        String name = "ab".substring(writer, writer + 1);
        writers.add(
            CompletableFuture.runAsync(
                () -> {
                  for (int number = 0; number < 25; number++) {
                    var message = UserMessage.from(name + number);
                    mine.updateMessages(id, plus(mine.getMessages(id), message));
                  }
                }));
      }
      writers.forEach(CompletableFuture::join);
      List<String> all = other.items();
      assertEquals(50, all.size());
      for (String name : List.of("a", "b")) {
        List<String> own = IntStream.range(0, 25).mapToObj(number -> user(name + number)).toList();
        assertEquals(own, all.stream().filter(own::contains).toList());
      }
      List<ChatMessage> read = new TurntreeChatMemoryStore(client).getMessages(id);
      stores.forEach(mine -> assertEquals(read, mine.getMessages(id)));
    }
  }

  /** Two windows that move at once end with one of both's newest messages, and stay windows. */
  @Test
  void racingWindows() {
    try (TurntreeClient another = TurntreeClient.connect(server.address())) {
      List<CompletableFuture<Void>> writers = new ArrayList<>();
      for (var mine : List.of(store, new TurntreeChatMemoryStore(another))) {
        String name = mine == store ? "a" : "b";
        var memory =
            MessageWindowChatMemory.builder().id(id).maxMessages(5).chatMemoryStore(mine).build();
        writers.add(
            CompletableFuture.runAsync(
                () -> {
                  for (int number = 0; number < 25; number++) {
                    memory.add(UserMessage.from(name + number));
                  }
                }));
      }
      writers.forEach(CompletableFuture::join);
      List<ChatMessage> last = window(5).messages();
      assertTrue(
          last.contains(UserMessage.from("a24")) || last.contains(UserMessage.from("b24")),
          last.toString());
      assertTrue(other.items().size() <= 6, other.items().toString());
    }
  }

  private enum Place {
    LISBON
  }

  private record Key(String user, int chat) {}

  /** Memory ids of values name their session as text; others need a function that does. */
  @Test
  void memoryIds() {
    UUID uuid = UUID.randomUUID();
    List<ChatMessage> messages = List.of(UserMessage.from("Hello"));
    for (Object memoryId : List.of(7L, uuid, Place.LISBON, new Key("ada", 1), "id é🌳", 'c')) {
      store.updateMessages(memoryId, messages);
      assertEquals(messages, store.getMessages(memoryId));
      assertEquals(1, new OtherProgram(client, memoryId.toString()).items().size());
    }
    var error = assertThrows(IllegalArgumentException.class, () -> store.getMessages(this));
    assertTrue(String.valueOf(error.getMessage()).contains(getClass().getName()));
    var named = new TurntreeChatMemoryStore(client, memoryId -> "named " + memoryId.hashCode());
    named.updateMessages(Object.class, messages);
    assertEquals(1, new OtherProgram(client, "named " + Object.class.hashCode()).items().size());
  }
}
