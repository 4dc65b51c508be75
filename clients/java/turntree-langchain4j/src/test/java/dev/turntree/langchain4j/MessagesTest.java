package dev.turntree.langchain4j;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.langchain4j.data.message.AiMessage;
import dev.langchain4j.data.message.ChatMessage;
import dev.langchain4j.data.message.ChatMessageType;
import dev.langchain4j.data.message.Content;
import dev.langchain4j.data.message.ContentType;
import dev.langchain4j.data.message.ImageContent;
import dev.langchain4j.data.message.SystemMessage;
import dev.langchain4j.data.message.TextContent;
import dev.langchain4j.data.message.ToolExecutionResultMessage;
import dev.langchain4j.data.message.UserMessage;
import dev.turntree.TurntreeClient;
import dev.turntree.memory.OtherProgram;
import dev.turntree.testing.Server;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.EnumSet;
import java.util.List;
import java.util.Random;
import java.util.stream.Collectors;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(120)
class MessagesTest {
  private static Server server;
  private static TurntreeClient client;

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

  private static void assertRoundTrip(String sessionId, List<ChatMessage> messages) {
    new TurntreeChatMemoryStore(client).updateMessages(sessionId, messages);
    assertEquals(messages, new TurntreeChatMemoryStore(client).getMessages(sessionId));
  }

  /** There is a sample of every type of message and of content, also of those of a new version. */
  @Test
  void samplesCoverAllTypes() {
    var messages = Samples.messages().stream().map(ChatMessage::type).collect(Collectors.toSet());
    assertEquals(EnumSet.allOf(ChatMessageType.class), messages);
    var contents = Samples.contents().stream().map(Content::type).collect(Collectors.toSet());
    assertEquals(EnumSet.allOf(ContentType.class), contents);
  }

  /** Every message comes back as it was, alone in its conversation. */
  @Test
  void eachComesBack() {
    int number = 0;
    for (ChatMessage message : Samples.messages()) {
      assertRoundTrip("alone " + number++, List.of(message));
    }
  }

  /** Every message comes back as it was, whatever stands before and after it. */
  @Test
  void allComeBackInAnyOrder() {
    assertRoundTrip("in order", Samples.messages());
    long seed = new Random().nextLong();
    Random random = new Random(seed);
    for (int round = 0; round < 20; round++) {
      List<ChatMessage> shuffled = new ArrayList<>(Samples.messages());
      shuffled.addAll(Samples.messages());
      Collections.shuffle(shuffled, random);
      var store = new TurntreeChatMemoryStore(client);
      store.updateMessages("shuffled " + seed, shuffled);
      assertEquals(shuffled, new TurntreeChatMemoryStore(client).getMessages("shuffled " + seed));
    }
  }

  /** A conversation that is longer than an answer of the server is read whole, natives too. */
  @Test
  void longConversations() {
    List<ChatMessage> messages = new ArrayList<>();
    for (int number = 0; number < 40; number++) {
      String text = number + "x".repeat(100_000);
      messages.add(number % 3 == 0 ? UserMessage.from("Ada", text) : UserMessage.from(text));
    }
    assertRoundTrip("long", messages);
    var store = new TurntreeChatMemoryStore(client);
    List<ChatMessage> read = store.getMessages("long");
    read.add(AiMessage.from("Read."));
    store.updateMessages("long", read.subList(1, 41));
    assertEquals(read.subList(1, 41), new TurntreeChatMemoryStore(client).getMessages("long"));
  }

  /** A message is stored in the Responses form, and what agents usually say is stored only once. */
  @Test
  void payload() {
    new TurntreeChatMemoryStore(client)
        .updateMessages(
            "payload",
            List.of(
                SystemMessage.from("Be brief."),
                UserMessage.from("1 + 2?"),
                AiMessage.from(Samples.call("c1", "add"), Samples.call("c2", "say")),
                result("c1", "add", "3"),
                result("c2", "say", ""),
                AiMessage.from("It is 3."),
                UserMessage.from(
                    TextContent.from("And this?"),
                    ImageContent.from("aGk=", "image/png", ImageContent.DetailLevel.HIGH))));
    var other = new OtherProgram(client, "payload");
    String arguments = "\"arguments\":\"{\\\"n\\\": 1}\"}";
    String answer = "{\"type\":\"output_text\",\"text\":\"It is 3.\",\"annotations\":[]}";
    String image = "{\"type\":\"input_image\",\"image_url\":\"data:image/png;base64,aGk=\"";
    assertEquals(
        List.of(
            "{\"role\":\"system\",\"content\":\"Be brief.\"}",
            "{\"role\":\"user\",\"content\":\"1 + 2?\"}",
            "{\"type\":\"function_call\",\"call_id\":\"c1\",\"name\":\"add\"," + arguments,
            "{\"type\":\"function_call\",\"call_id\":\"c2\",\"name\":\"say\"," + arguments,
            "{\"type\":\"function_call_output\",\"call_id\":\"c1\",\"output\":\"3\"}",
            "{\"type\":\"function_call_output\",\"call_id\":\"c2\",\"output\":\"\"}",
            "{\"type\":\"message\",\"role\":\"assistant\",\"content\":[" + answer + "]}",
            "{\"role\":\"user\",\"content\":[{\"type\":\"input_text\",\"text\":\"And this?\"},"
                + image
                + ",\"detail\":\"high\"}]}"),
        other.items());
    assertEquals(0, other.natives(TurntreeChatMemoryStore.DIALECT));
    assertEquals(List.of("add 1 in turn 1", "say 1 in turn 1"), other.tools());
    List<String> types = other.outline();
    assertTrue(types.get(0).startsWith("0 ") && types.get(7).equals("2 user"), types.toString());
  }

  private static ChatMessage result(String id, String tool, String text) {
    return ToolExecutionResultMessage.builder()
        .id(id)
        .toolName(tool)
        .contents(TextContent.from(text))
        .isError(false)
        .build();
  }

  /** What the Responses form has no word for is there in other words, which all readers have. */
  @Test
  void readableByOthers() {
    new TurntreeChatMemoryStore(client).updateMessages("others", Samples.messages());
    var other = new OtherProgram(client, "others");
    for (String item : other.items()) {
      assertTrue(item.startsWith("{\"role\":\"") || item.startsWith("{\"type\":\""), item);
    }
    String all = String.join("\n", other.items());
    for (String words :
        Arrays.asList("[video]", "call_now", "document.pdf", "\"format\":\"mp3\"")) {
      assertTrue(all.contains(words), words);
    }
    assertTrue(other.natives(TurntreeChatMemoryStore.DIALECT) > 0);
    assertEquals(0, other.natives("another dialect"));
  }
}
