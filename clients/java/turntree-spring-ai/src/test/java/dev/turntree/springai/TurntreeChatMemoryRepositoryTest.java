package dev.turntree.springai;

import static dev.turntree.memory.OtherProgram.assistant;
import static dev.turntree.memory.OtherProgram.call;
import static dev.turntree.memory.OtherProgram.output;
import static dev.turntree.memory.OtherProgram.reasoning;
import static dev.turntree.memory.OtherProgram.user;
import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.turntree.TurntreeClient;
import dev.turntree.memory.OtherProgram;
import dev.turntree.testing.Server;
import java.util.ArrayList;
import java.util.List;
import java.util.TreeSet;
import java.util.concurrent.CompletableFuture;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.springframework.ai.chat.memory.ChatMemory;
import org.springframework.ai.chat.memory.MessageWindowChatMemory;
import org.springframework.ai.chat.messages.AssistantMessage;
import org.springframework.ai.chat.messages.AssistantMessage.ToolCall;
import org.springframework.ai.chat.messages.Message;
import org.springframework.ai.chat.messages.SystemMessage;
import org.springframework.ai.chat.messages.ToolResponseMessage;
import org.springframework.ai.chat.messages.ToolResponseMessage.ToolResponse;
import org.springframework.ai.chat.messages.UserMessage;

@Timeout(120)
class TurntreeChatMemoryRepositoryTest {
  private Server server;
  private TurntreeClient client;
  private TurntreeChatMemoryRepository repository;
  private OtherProgram other;

  @BeforeEach
  void start() {
    server = Server.start();
    client = TurntreeClient.connect(server.address());
    repository = new TurntreeChatMemoryRepository(client);
    other = new OtherProgram(client, "c");
  }

  @AfterEach
  void stop() {
    client.close();
    server.close();
  }

  private ChatMemory window(int messages) {
    return MessageWindowChatMemory.builder()
        .chatMemoryRepository(repository)
        .maxMessages(messages)
        .build();
  }

  /** All conversations are found, of whatever writer, and one that is deleted no longer. */
  @Test
  void conversationIds() {
    assertEquals(List.of(), repository.findConversationIds());
    repository.saveAll("ours", List.of(new UserMessage("Hello")));
    other.add(user("Hello"));
    for (int number = 0; number < 3; number++) {
      repository.saveAll("é🌳 " + number, List.of(new UserMessage("Hello")));
    }
    assertEquals(
        new TreeSet<>(List.of("c", "ours", "é🌳 0", "é🌳 1", "é🌳 2")),
        new TreeSet<>(repository.findConversationIds()));
    repository.deleteByConversationId("ours");
    repository.deleteByConversationId("ours");
    assertEquals(4, repository.findConversationIds().size());
    assertEquals(List.of(), repository.findByConversationId("ours"));
  }

  /** What another program wrote is read as Spring AI's messages, and goes on as it is. */
  @Test
  void readsOthers() {
    String[] history = {
      "{\"role\":\"system\",\"content\":\"Be brief.\"}",
      user("Weather?"),
      reasoning("r1"),
      call("c1", "weather"),
      call("c2", "clock"),
      output("c1", "Sunny"),
      output("c2", "noon"),
      reasoning("r2"),
      assistant("Sunny at noon."),
      "{\"type\":\"web_search_call\",\"id\":\"ws_1\",\"status\":\"completed\"}"
    };
    other.add(history);
    List<Message> read = repository.findByConversationId("c");
    assertEquals(
        List.of(
            new SystemMessage("Be brief."),
            new UserMessage("Weather?"),
            AssistantMessage.builder()
                .content(null)
                .toolCalls(
                    List.of(
                        new ToolCall("c1", "function", "weather", "{}"),
                        new ToolCall("c2", "function", "clock", "{}")))
                .build(),
            ToolResponseMessage.builder()
                .responses(
                    List.of(
                        new ToolResponse("c1", "weather", "Sunny"),
                        new ToolResponse("c2", "clock", "noon")))
                .build(),
            new AssistantMessage("Sunny at noon.")),
        read);
    window(10).add("c", new UserMessage("Thanks."));
    List<String> items = new ArrayList<>(List.of(history));
    items.add(user("Thanks."));
    assertEquals(items, other.items());
  }

  /** Whatever items another program wrote, reading them fails for none and drops none. */
  @Test
  void readsAnything() {
    List<String> odd = new ArrayList<>(List.of("null", "1", "[]", "{}", "\"\"", "{\"type\":1}"));
    for (String value : List.of("null", "1", "\"\"", "[]", "{}", "[null]", "[{\"type\":\"x\"}]")) {
      for (String role : List.of("user", "assistant", "system", "developer", "critic")) {
        odd.add("{\"role\":\"" + role + "\",\"content\":" + value + "}");
      }
    }
    for (String url : List.of("", ":", "data:", "data:x;base64,?", "data:;base64,aGk=", "é 🌳")) {
      String image = "{\"type\":\"input_image\",\"image_url\":\"" + url + "\"}";
      String sound = "{\"type\":\"input_audio\",\"input_audio\":{\"format\":\"" + url + "\"}}";
      odd.add("{\"role\":\"user\",\"content\":[" + image + "," + sound + "]}");
    }
    other.add(odd.toArray(String[]::new));
    List<Message> all = repository.findByConversationId("c");
    all.add(new UserMessage("Hello"));
    repository.saveAll("c", all);
    odd.add(user("Hello"));
    assertEquals(odd, other.items());
  }

  /** A window removes what it leaves out, keeps the bytes of what stays, and is read as it is. */
  @Test
  void windowEvicts() {
    other.add(user("1"), assistant("2"), user("3"), reasoning("r"), assistant("4"));
    ChatMemory memory = window(4);
    memory.add("c", new SystemMessage("Be brief."));
    memory.add("c", new UserMessage("5"));
    List<String> expected =
        List.of(
            user("3"),
            reasoning("r"),
            assistant("4"),
            "{\"role\":\"system\",\"content\":\"Be brief.\"}",
            user("5"));
    assertEquals(expected, other.items());
    assertEquals(4, memory.get("c").size());
  }

  /** A window over every message there is holds what it holds with Spring AI's own repository. */
  @Test
  void windowLikeInMemory() {
    ChatMemory memory = window(6);
    ChatMemory expected = MessageWindowChatMemory.builder().maxMessages(6).build();
    for (Message message : Samples.messages()) {
      memory.add("c", message);
      expected.add("c", message);
      assertEquals(
          expected.get("c").stream().map(MessageJson::write).toList(),
          memory.get("c").stream().map(MessageJson::write).toList());
    }
  }

  /** A memory on a branch leaves main as it is. */
  @Test
  void branches() {
    other.add(user("1"), assistant("2"));
    repository.session("c").branchHere("spring");
    window(2).add("c", new UserMessage("3"));
    assertEquals(List.of(user("1"), assistant("2")), other.items());
    assertEquals(List.of(new UserMessage("3")), repository.findByConversationId("c"));
  }

  /** Two programs that write at once lose nothing of each other, and keep their own order. */
  @Test
  void racing() {
    List<CompletableFuture<Void>> writers = new ArrayList<>();
    for (String name : List.of("a", "b")) {
      writers.add(
          CompletableFuture.runAsync(
              () -> {
                try (TurntreeClient own = TurntreeClient.connect(server.address())) {
                  var memory =
                      MessageWindowChatMemory.builder()
                          .chatMemoryRepository(new TurntreeChatMemoryRepository(own))
                          .maxMessages(1_000)
                          .build();
                  for (int number = 0; number < 25; number++) {
                    memory.add("c", new UserMessage(name + number));
                  }
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
  }
}
