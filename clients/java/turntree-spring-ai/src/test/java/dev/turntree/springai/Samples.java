package dev.turntree.springai;

import java.net.MalformedURLException;
import java.net.URI;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.springframework.ai.chat.messages.AssistantMessage;
import org.springframework.ai.chat.messages.AssistantMessage.ToolCall;
import org.springframework.ai.chat.messages.Message;
import org.springframework.ai.chat.messages.SystemMessage;
import org.springframework.ai.chat.messages.ToolResponseMessage;
import org.springframework.ai.chat.messages.ToolResponseMessage.ToolResponse;
import org.springframework.ai.chat.messages.UserMessage;
import org.springframework.ai.content.Media;
import org.springframework.util.MimeType;

/** One and more of every message and every kind of media that Spring AI has. */
final class Samples {
  private Samples() {}

  static ToolCall call(String id, String tool) {
    return new ToolCall(id, "function", tool, "{\"n\": 1}");
  }

  static AssistantMessage calls(String text, ToolCall... calls) {
    return AssistantMessage.builder().content(text).toolCalls(List.of(calls)).build();
  }

  static ToolResponseMessage responses(ToolResponse... responses) {
    return ToolResponseMessage.builder().responses(List.of(responses)).build();
  }

  static List<Media> media() {
    List<Media> media = new ArrayList<>();
    for (String type : List.of("image/png", "application/pdf", "audio/mp3", "video/mp4")) {
      MimeType mimeType = MimeType.valueOf(type);
      media.add(Media.builder().mimeType(mimeType).data(new byte[] {0, 1, -1}).build());
      media.add(Media.builder().mimeType(mimeType).data("aGk=").id("m1").build());
      media.add(new Media(mimeType, URI.create("https://example.com/a")));
      try {
        var url = URI.create("https://example.com/b").toURL();
        media.add(Media.builder().mimeType(mimeType).data(url).name("b").build());
      } catch (MalformedURLException error) {
        throw new IllegalStateException(error);
      }
    }
    return media;
  }

  /** Metadata of everything that JSON has, as a model's answer has it. */
  private static Map<String, Object> metadata() {
    Map<String, Object> metadata = new HashMap<>();
    metadata.put("finishReason", "STOP");
    metadata.put("index", 0);
    metadata.put("large", 9007199254740993L);
    metadata.put("score", 0.1);
    metadata.put("refused", false);
    metadata.put("annotations", List.of(Map.of("url", "https://example.com")));
    metadata.put("nothing", null);
    return metadata;
  }

  static List<Message> messages() {
    List<Message> messages = new ArrayList<>();
    messages.add(new SystemMessage("Be brief."));
    messages.add(SystemMessage.builder().text("").metadata(metadata()).build());
    messages.add(new UserMessage("Hello é🌳"));
    messages.add(UserMessage.builder().text("Hello").metadata(metadata()).build());
    messages.add(UserMessage.builder().text("Look.").media(media()).build());
    media().forEach(one -> messages.add(UserMessage.builder().text("").media(one).build()));
    messages.add(new AssistantMessage("Hello"));
    messages.add(new AssistantMessage(""));
    messages.add(new AssistantMessage(null));
    messages.add(AssistantMessage.builder().content("Hi").properties(metadata()).build());
    messages.add(AssistantMessage.builder().content("Look.").media(media()).build());
    messages.add(calls("", call("c1", "add"), call("c2", "say")));
    messages.add(responses(new ToolResponse("c1", "add", "3"), new ToolResponse("c2", "say", "")));
    messages.add(calls("Once more.", call("c3", "add")));
    messages.add(responses(new ToolResponse("c3", "other", "wrong name")));
    messages.add(responses(new ToolResponse("never called", "add", "3")));
    messages.add(calls("", new ToolCall("", "custom", "now", "")));
    messages.add(responses(new ToolResponse("", "now", "noon")));
    messages.add(responses());
    return messages;
  }
}
