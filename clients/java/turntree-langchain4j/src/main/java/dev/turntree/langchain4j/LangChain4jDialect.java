package dev.turntree.langchain4j;

import dev.langchain4j.agent.tool.ToolExecutionRequest;
import dev.langchain4j.data.message.AiMessage;
import dev.langchain4j.data.message.ChatMessage;
import dev.langchain4j.data.message.ChatMessageDeserializer;
import dev.langchain4j.data.message.ChatMessageSerializer;
import dev.langchain4j.data.message.Content;
import dev.langchain4j.data.message.CustomMessage;
import dev.langchain4j.data.message.SystemMessage;
import dev.langchain4j.data.message.TextContent;
import dev.langchain4j.data.message.ToolExecutionResultMessage;
import dev.langchain4j.data.message.UserMessage;
import dev.turntree.memory.Dialect;
import dev.turntree.memory.PlainMessage;
import dev.turntree.memory.PlainMessage.Assistant;
import dev.turntree.memory.PlainMessage.Call;
import dev.turntree.memory.PlainMessage.Instructions;
import dev.turntree.memory.PlainMessage.Result;
import dev.turntree.memory.PlainMessage.Results;
import dev.turntree.memory.PlainMessage.User;
import java.util.List;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/** LangChain4j's messages. Their own JSON is what LangChain4j itself makes of them. */
final class LangChain4jDialect implements Dialect<ChatMessage> {
  @Override
  public String name() {
    return TurntreeChatMemoryStore.DIALECT;
  }

  @Override
  public boolean joinsResults() {
    return false;
  }

  @Override
  public PlainMessage plain(ChatMessage message) {
    if (message instanceof SystemMessage system) {
      return new Instructions("system", system.text());
    }
    if (message instanceof UserMessage user) {
      return new User(user.contents().stream().map(Contents::part).toList());
    }
    if (message instanceof AiMessage answer) {
      return new Assistant(
          answer.hasToolExecutionRequests() && orEmpty(answer.text()).isEmpty()
              ? null
              : answer.text(),
          answer.toolExecutionRequests().stream().map(LangChain4jDialect::call).toList());
    }
    if (message instanceof ToolExecutionResultMessage result) {
      var output = result.contents().stream().map(Contents::part).toList();
      String tool = orEmpty(result.toolName());
      return new Results(List.of(new Result(callId(result.id(), tool), tool, output)));
    }
    if (message instanceof CustomMessage) {
      return new Instructions("developer", json(message));
    }
    throw new IllegalArgumentException(
        "a message is of "
            + message.getClass().getName()
            + "; it must be of a class of LangChain4j's own");
  }

  private static Call call(ToolExecutionRequest request) {
    String tool = orEmpty(request.name());
    return new Call(callId(request.id(), tool), tool, orEmpty(request.arguments()));
  }

  /** Models that give their calls no ids have at most one call of a tool at a time. */
  private static String callId(@Nullable String id, String tool) {
    return id == null || id.isEmpty() ? "call_" + tool : id;
  }

  private static String orEmpty(@Nullable String text) {
    return text == null ? "" : text;
  }

  @Override
  public Optional<ChatMessage> message(PlainMessage plain) {
    if (plain instanceof Instructions instructions) {
      String text = instructions.text();
      return text.isBlank() ? Optional.empty() : Optional.of(SystemMessage.from(text));
    }
    if (plain instanceof User user) {
      List<Content> contents = user.parts().stream().map(Contents::content).toList();
      return contents.isEmpty() ? Optional.empty() : Optional.of(UserMessage.from(contents));
    }
    if (plain instanceof Assistant answer) {
      var requests = answer.calls().stream().map(LangChain4jDialect::request).toList();
      return Optional.of(
          AiMessage.builder().text(answer.text()).toolExecutionRequests(requests).build());
    }
    return ((Results) plain).results().stream().map(LangChain4jDialect::result).findFirst();
  }

  private static ToolExecutionRequest request(Call call) {
    return ToolExecutionRequest.builder()
        .id(call.callId())
        .name(call.name())
        .arguments(call.arguments())
        .build();
  }

  private static ChatMessage result(Result result) {
    List<Content> contents = result.output().stream().map(Contents::content).toList();
    return ToolExecutionResultMessage.builder()
        .id(result.callId())
        .toolName(result.toolName())
        .contents(contents.isEmpty() ? List.of(TextContent.from("")) : contents)
        .isError(false)
        .build();
  }

  @Override
  public String json(ChatMessage message) {
    return ChatMessageSerializer.messageToJson(message);
  }

  @Override
  public ChatMessage fromJson(String json) {
    return ChatMessageDeserializer.messageFromJson(json);
  }
}
