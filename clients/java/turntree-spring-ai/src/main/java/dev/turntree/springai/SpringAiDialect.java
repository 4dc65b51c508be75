package dev.turntree.springai;

import dev.turntree.memory.Dialect;
import dev.turntree.memory.PlainMessage;
import dev.turntree.memory.PlainMessage.Assistant;
import dev.turntree.memory.PlainMessage.Call;
import dev.turntree.memory.PlainMessage.Instructions;
import dev.turntree.memory.PlainMessage.Part;
import dev.turntree.memory.PlainMessage.Result;
import dev.turntree.memory.PlainMessage.Results;
import dev.turntree.memory.PlainMessage.Text;
import dev.turntree.memory.PlainMessage.User;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.jspecify.annotations.Nullable;
import org.springframework.ai.chat.messages.AssistantMessage;
import org.springframework.ai.chat.messages.AssistantMessage.ToolCall;
import org.springframework.ai.chat.messages.Message;
import org.springframework.ai.chat.messages.SystemMessage;
import org.springframework.ai.chat.messages.ToolResponseMessage;
import org.springframework.ai.chat.messages.ToolResponseMessage.ToolResponse;
import org.springframework.ai.chat.messages.UserMessage;
import org.springframework.ai.content.Media;
import org.springframework.ai.content.MediaContent;

/** Spring AI's messages. Their own JSON is {@link MessageJson}. */
final class SpringAiDialect implements Dialect<Message> {
  @Override
  public String name() {
    return TurntreeChatMemoryRepository.DIALECT;
  }

  @Override
  public boolean joinsResults() {
    return true;
  }

  @Override
  public PlainMessage plain(Message message) {
    String text = orEmpty(message.getText());
    return switch (message.getMessageType()) {
      case SYSTEM -> new Instructions("system", text);
      case USER -> new User(parts(text, message));
      case ASSISTANT -> {
        List<Call> calls = calls(message);
        yield new Assistant(!calls.isEmpty() && text.isEmpty() ? null : text, calls);
      }
      case TOOL -> {
        List<Result> results = results(message);
        yield results.isEmpty() ? new Instructions("developer", text) : new Results(results);
      }
    };
  }

  private static List<Part> parts(String text, Message message) {
    List<Part> parts = new ArrayList<>();
    List<Media> media = message instanceof MediaContent content ? content.getMedia() : List.of();
    if (!text.isEmpty() || media.isEmpty()) {
      parts.add(new Text(text));
    }
    media.forEach(medium -> parts.add(MediaParts.part(medium)));
    return parts;
  }

  private static List<Call> calls(Message message) {
    List<ToolCall> calls =
        message instanceof AssistantMessage answer ? answer.getToolCalls() : List.of();
    return calls.stream()
        .map(call -> new Call(callId(call.id(), call.name()), call.name(), call.arguments()))
        .toList();
  }

  private static List<Result> results(Message message) {
    List<ToolResponse> responses =
        message instanceof ToolResponseMessage tools ? tools.getResponses() : List.of();
    return responses.stream().map(SpringAiDialect::result).toList();
  }

  private static Result result(ToolResponse response) {
    Text output = new Text(orEmpty(response.responseData()));
    return new Result(callId(response.id(), response.name()), response.name(), List.of(output));
  }

  /** Models that give their calls no ids have at most one call of a tool at a time. */
  private static String callId(@Nullable String id, String tool) {
    return id == null || id.isEmpty() ? "call_" + tool : id;
  }

  private static String orEmpty(@Nullable String text) {
    return text == null ? "" : text;
  }

  @Override
  public Optional<Message> message(PlainMessage plain) {
    if (plain instanceof Instructions instructions) {
      return Optional.of(new SystemMessage(instructions.text()));
    }
    if (plain instanceof User user) {
      return user.parts().isEmpty() ? Optional.empty() : Optional.of(message(user));
    }
    if (plain instanceof Assistant answer) {
      List<ToolCall> calls =
          answer.calls().stream()
              .map(call -> new ToolCall(call.callId(), "function", call.name(), call.arguments()))
              .toList();
      return Optional.of(
          AssistantMessage.builder().content(answer.text()).toolCalls(calls).build());
    }
    List<ToolResponse> responses =
        ((Results) plain)
            .results().stream()
                .map(
                    result ->
                        new ToolResponse(result.callId(), result.toolName(), text(result.output())))
                .toList();
    return Optional.of(ToolResponseMessage.builder().responses(responses).build());
  }

  private static Message message(User user) {
    List<Media> media = user.parts().stream().flatMap(MediaParts::media).toList();
    return UserMessage.builder().text(text(user.parts())).media(media).build();
  }

  /** The texts of parts that have no other place, one below the other. */
  private static String text(List<Part> parts) {
    List<String> texts = new ArrayList<>();
    for (Part part : parts) {
      if (part instanceof Text text) {
        texts.add(text.text());
      }
    }
    return String.join("\n", texts);
  }

  @Override
  public String json(Message message) {
    return MessageJson.write(message);
  }

  @Override
  public Message fromJson(String json) {
    return MessageJson.read(json);
  }
}
