package dev.turntree.springai;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.turntree.TurntreeClient;
import dev.turntree.memory.OtherProgram;
import dev.turntree.testing.Server;
import java.util.ArrayList;
import java.util.Collections;
import java.util.EnumSet;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.stream.Collectors;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.springframework.ai.chat.messages.AssistantMessage;
import org.springframework.ai.chat.messages.Message;
import org.springframework.ai.chat.messages.MessageType;
import org.springframework.ai.chat.messages.SystemMessage;
import org.springframework.ai.chat.messages.ToolResponseMessage.ToolResponse;
import org.springframework.ai.chat.messages.UserMessage;
import org.springframework.ai.content.Media;
import org.springframework.util.MimeType;

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

  private static void assertRoundTrip(String conversationId, List<Message> messages) {
    new TurntreeChatMemoryRepository(client).saveAll(conversationId, messages);
    assertSame(
        messages, new TurntreeChatMemoryRepository(client).findByConversationId(conversationId));
  }

  /** Spring AI's media know no equality, so they are compared by all that can be asked of them. */
  private static void assertSame(List<Message> expected, List<Message> messages) {
    assertEquals(expected.size(), messages.size());
    for (int index = 0; index < expected.size(); index++) {
      Message before = expected.get(index);
      Message after = messages.get(index);
      assertEquals(before.getClass(), after.getClass());
      assertEquals(before.getMetadata(), after.getMetadata());
      if (before instanceof AssistantMessage answer && !answer.getMedia().isEmpty()) {
        assertEquals(answer.getText(), after.getText());
        assertSameMedia(answer.getMedia(), ((AssistantMessage) after).getMedia());
      } else {
        assertEquals(before, after);
      }
      if (before instanceof UserMessage user) {
        assertSameMedia(user.getMedia(), ((UserMessage) after).getMedia());
      }
    }
  }

  private static void assertSameMedia(List<Media> expected, List<Media> media) {
    assertEquals(
        expected.stream().map(MessagesTest::described).toList(),
        media.stream().map(MessagesTest::described).toList());
  }

  private static List<Object> described(Media media) {
    Object data = media.getData() instanceof byte[] bytes ? List.of(bytes.length) : media.getData();
    return List.of(
        media.getMimeType(), media.getName(), String.valueOf(media.getId()), data.getClass(), data);
  }

  /** There is a sample of every type of message, also of those of a new version. */
  @Test
  void samplesCoverAllTypes() {
    var types = Samples.messages().stream().map(Message::getMessageType);
    assertEquals(EnumSet.allOf(MessageType.class), types.collect(Collectors.toSet()));
  }

  /** Every message comes back as it was, alone in its conversation. */
  @Test
  void eachComesBack() {
    int number = 0;
    for (Message message : Samples.messages()) {
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
      List<Message> shuffled = new ArrayList<>(Samples.messages());
      shuffled.addAll(Samples.messages());
      Collections.shuffle(shuffled, random);
      assertRoundTrip("shuffled " + seed, shuffled);
    }
  }

  /** A message is stored in the Responses form, and what is plain is stored only once. */
  @Test
  void payload() {
    new TurntreeChatMemoryRepository(client)
        .saveAll(
            "payload",
            List.of(
                new SystemMessage("Be brief."),
                new UserMessage("1 + 2?"),
                Samples.calls("Well.", Samples.call("c1", "add"), Samples.call("c2", "say")),
                Samples.responses(
                    new ToolResponse("c1", "add", "3"), new ToolResponse("c2", "say", "")),
                new AssistantMessage("It is 3.")));
    var other = new OtherProgram(client, "payload");
    String arguments = "\"arguments\":\"{\\\"n\\\": 1}\"}";
    String text =
        "{\"type\":\"message\",\"role\":\"assistant\",\"content\":"
            + "[{\"type\":\"output_text\",\"text\":\"%s\",\"annotations\":[]}]}";
    assertEquals(
        List.of(
            "{\"role\":\"system\",\"content\":\"Be brief.\"}",
            "{\"role\":\"user\",\"content\":\"1 + 2?\"}",
            String.format(text, "Well."),
            "{\"type\":\"function_call\",\"call_id\":\"c1\",\"name\":\"add\"," + arguments,
            "{\"type\":\"function_call\",\"call_id\":\"c2\",\"name\":\"say\"," + arguments,
            "{\"type\":\"function_call_output\",\"call_id\":\"c1\",\"output\":\"3\"}",
            "{\"type\":\"function_call_output\",\"call_id\":\"c2\",\"output\":\"\"}",
            String.format(text, "It is 3.")),
        other.items());
    assertEquals(0, other.natives(TurntreeChatMemoryRepository.DIALECT));
    assertEquals(List.of("add 1 in turn 1", "say 1 in turn 1"), other.tools());
  }

  private record Citation(String url, int page) {}

  /** Metadata that is not JSON comes back as JSON of it, and does not make the list a new one. */
  @Test
  void odderMetadata() {
    Object selfish =
        new Object() {
          public Object getSelf() {
            return this;
          }

          @Override
          public String toString() {
            return "selfish";
          }
        };
    var message =
        AssistantMessage.builder()
            .content("It is.")
            .properties(Map.of("citation", new Citation("https://example.com", 3), "me", selfish))
            .build();
    var repository = new TurntreeChatMemoryRepository(client);
    repository.saveAll("odder", List.of(message));
    List<Message> read = repository.findByConversationId("odder");
    Map<String, Object> metadata = read.get(0).getMetadata();
    assertEquals(Map.of("url", "https://example.com", "page", 3), metadata.get("citation"));
    assertEquals("selfish", metadata.get("me"));
    repository.saveAll("odder", read);
    assertEquals(1, new OtherProgram(client, "odder").items().size());
  }

  /** Images, files and sounds of other programs are media, and media are images, files, sounds. */
  @Test
  void media() {
    var other = new OtherProgram(client, "media");
    other.add(
        "{\"role\":\"user\",\"content\":[{\"type\":\"input_text\",\"text\":\"a\"},"
            + "{\"type\":\"input_image\",\"image_url\":\"data:image/png;base64,aGk=\"},"
            + "{\"type\":\"input_image\",\"image_url\":\"https://example.com/a.png\"},"
            + "{\"type\":\"input_file\",\"file_data\":\"data:application/pdf;base64,aGk=\"},"
            + "{\"type\":\"input_audio\",\"input_audio\":{\"data\":\"aGk=\",\"format\":\"mp3\"}},"
            + "{\"type\":\"input_text\",\"text\":\"b\"}]}");
    var repository = new TurntreeChatMemoryRepository(client);
    UserMessage read = (UserMessage) repository.findByConversationId("media").get(0);
    assertEquals("a\nb", read.getText());
    var types = read.getMedia().stream().map(Media::getMimeType).map(MimeType::toString).toList();
    assertEquals(List.of("image/png", "image/*", "application/pdf", "audio/mp3"), types);
    assertEquals("hi", new String(read.getMedia().get(0).getDataAsByteArray()));
    assertEquals("https://example.com/a.png", read.getMedia().get(1).getData());

    repository.saveAll(
        "media", List.of(UserMessage.builder().text("c").media(Samples.media()).build()));
    String item = other.items().get(0);
    for (String words :
        List.of(
            "\"image_url\":\"data:image/png;base64,AAH/\"",
            "\"image_url\":\"https://example.com/b\"",
            "\"filename\":\"document.pdf\",\"file_data\":\"data:application/pdf;base64,aGk=\"",
            "\"file_url\":\"https://example.com/a\"",
            "\"input_audio\":{\"data\":\"AAH/\",\"format\":\"mp3\"}",
            "\"text\":\"[video/mp4]\"")) {
      assertTrue(item.contains(words), words + " in " + item);
    }
  }
}
