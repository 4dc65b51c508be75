package dev.turntree.example;

import dev.langchain4j.data.message.AiMessage;
import dev.langchain4j.model.chat.ChatModel;
import dev.langchain4j.model.chat.request.ChatRequest;
import dev.langchain4j.model.chat.response.ChatResponse;
import java.util.List;
import org.springframework.ai.chat.messages.AssistantMessage;
import org.springframework.ai.chat.model.Generation;
import org.springframework.ai.chat.prompt.Prompt;

/** Models that give the answers of the README, by the length of the conversation. */
public final class Answers {
  private static final List<String> ANSWERS = List.of("San Francisco", "California", "1937");

  private Answers() {}

  private static String to(int messages) {
    return ANSWERS.get(messages / 2);
  }

  /** A model of LangChain4j. */
  public static final class LangChain4j implements ChatModel {
    @Override
    public ChatResponse doChat(ChatRequest request) {
      String answer = to(request.messages().size());
      return ChatResponse.builder().aiMessage(AiMessage.from(answer)).build();
    }
  }

  /** A model of Spring AI. */
  public static final class SpringAi implements org.springframework.ai.chat.model.ChatModel {
    @Override
    public org.springframework.ai.chat.model.ChatResponse call(Prompt prompt) {
      var answer = new AssistantMessage(to(prompt.getInstructions().size()));
      return new org.springframework.ai.chat.model.ChatResponse(List.of(new Generation(answer)));
    }
  }
}
