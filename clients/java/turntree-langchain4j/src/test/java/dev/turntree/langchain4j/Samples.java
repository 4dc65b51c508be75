package dev.turntree.langchain4j;

import dev.langchain4j.agent.tool.ToolExecutionRequest;
import dev.langchain4j.data.audio.Audio;
import dev.langchain4j.data.message.AiMessage;
import dev.langchain4j.data.message.AudioContent;
import dev.langchain4j.data.message.ChatMessage;
import dev.langchain4j.data.message.Content;
import dev.langchain4j.data.message.CustomMessage;
import dev.langchain4j.data.message.ImageContent;
import dev.langchain4j.data.message.ImageContent.DetailLevel;
import dev.langchain4j.data.message.PdfFileContent;
import dev.langchain4j.data.message.SystemMessage;
import dev.langchain4j.data.message.TextContent;
import dev.langchain4j.data.message.ToolExecutionResultMessage;
import dev.langchain4j.data.message.UserMessage;
import dev.langchain4j.data.message.VideoContent;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/** One and more of every message and every content that LangChain4j has. */
final class Samples {
  private Samples() {}

  static ToolExecutionRequest call(String id, String tool) {
    return ToolExecutionRequest.builder().id(id).name(tool).arguments("{\"n\": 1}").build();
  }

  static List<Content> contents() {
    List<Content> contents = new ArrayList<>();
    contents.add(TextContent.from("Look: é🌳"));
    contents.add(TextContent.from(""));
    for (DetailLevel detail : DetailLevel.values()) {
      contents.add(ImageContent.from("https://example.com/a%20b.png", detail));
      contents.add(ImageContent.from("aGk=", "image/png", detail));
    }
    contents.add(AudioContent.from("aGk=", "audio/mpeg"));
    contents.add(AudioContent.from("aGk=", "audio/wav"));
    contents.add(AudioContent.from(Audio.builder().base64Data("aGk=").build()));
    contents.add(AudioContent.from("https://example.com/a.mp3"));
    contents.add(VideoContent.from("aGk=", "video/mp4"));
    contents.add(VideoContent.from("https://example.com/a.mp4"));
    contents.add(PdfFileContent.from("https://example.com/a.pdf"));
    contents.add(PdfFileContent.from("https://example.com/paper"));
    contents.add(PdfFileContent.from("aGk=", "application/pdf"));
    return contents;
  }

  static List<ChatMessage> messages() {
    List<ChatMessage> messages = new ArrayList<>();
    messages.add(SystemMessage.from("Be brief."));
    messages.add(UserMessage.from("Hello é🌳"));
    messages.add(UserMessage.from("Ada", "Hello"));
    messages.add(UserMessage.builder().addContent(TextContent.from("Hello")).build());
    messages.add(
        UserMessage.builder()
            .addContent(TextContent.from("Hello"))
            .attributes(Map.of("mood", "curious", "n", 9007199254740993L))
            .build());
    contents().forEach(content -> messages.add(UserMessage.from(content)));
    messages.add(UserMessage.from(contents()));
    messages.add(AiMessage.from("Hello"));
    messages.add(AiMessage.from(""));
    messages.add(AiMessage.builder().build());
    messages.add(AiMessage.builder().text("Hello").thinking("Hm.").build());
    messages.add(AiMessage.builder().text("Hello").attributes(Map.of("id", "r1")).build());
    messages.add(AiMessage.from(call("c1", "add"), call("c2", "add")));
    messages.add(ToolExecutionResultMessage.from("c1", "add", "3"));
    messages.add(ToolExecutionResultMessage.builder().id("c2").toolName("add").text("").build());
    messages.add(AiMessage.from("Once more.", List.of(call("c3", "add"))));
    messages.add(
        ToolExecutionResultMessage.builder()
            .id("c3")
            .toolName("add")
            .contents(contents())
            .isError(true)
            .attributes(Map.of("cause", "overflow"))
            .build());
    messages.add(AiMessage.from("", List.of(call("c4", "add"))));
    messages.add(ToolExecutionResultMessage.from("c4", "other", "wrong name"));
    messages.add(ToolExecutionResultMessage.from("never called", "add", "3"));
    messages.add(
        AiMessage.from(ToolExecutionRequest.builder().name("now").arguments("{}").build()));
    messages.add(ToolExecutionResultMessage.from(null, "now", "noon"));
    messages.add(CustomMessage.from(Map.of("role", "control", "content", "thinking")));
    return messages;
  }
}
