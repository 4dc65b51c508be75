package dev.turntree.springai;

import static dev.turntree.memory.OtherProgram.assistant;
import static dev.turntree.memory.OtherProgram.user;
import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.turntree.TurntreeClient;
import dev.turntree.memory.OtherProgram;
import dev.turntree.testing.Server;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.springframework.ai.chat.client.ChatClient;
import org.springframework.ai.chat.client.advisor.MessageChatMemoryAdvisor;
import org.springframework.ai.chat.client.advisor.ToolCallingAdvisor;
import org.springframework.ai.chat.memory.ChatMemory;
import org.springframework.ai.chat.memory.MessageWindowChatMemory;
import org.springframework.ai.chat.messages.AssistantMessage;
import org.springframework.ai.chat.messages.AssistantMessage.ToolCall;
import org.springframework.ai.chat.messages.Message;
import org.springframework.ai.chat.model.ChatModel;
import org.springframework.ai.chat.model.ChatResponse;
import org.springframework.ai.chat.model.Generation;
import org.springframework.ai.chat.prompt.ChatOptions;
import org.springframework.ai.chat.prompt.Prompt;
import org.springframework.ai.model.tool.ToolCallingChatOptions;
import org.springframework.ai.tool.annotation.Tool;

@Timeout(120)
class AgentTest {
  private static final int WITHIN_TOOL_CALLS = ToolCallingAdvisor.DEFAULT_ORDER + 1;

  static final class Tools {
    @Tool(description = "The weather")
    public String weather(String city) {
      return "Sunny in " + city;
    }
  }

  /** Says what it is told to, and remembers what it was asked. */
  static final class ScriptedModel implements ChatModel {
    final Deque<AssistantMessage> answers = new ArrayDeque<>();
    final List<List<Message>> asked = new ArrayList<>();

    @Override
    public ChatResponse call(Prompt prompt) {
      asked.add(prompt.getInstructions());
      return new ChatResponse(List.of(new Generation(answers.remove())));
    }

    @Override
    public ChatOptions getOptions() {
      return ToolCallingChatOptions.builder().build();
    }
  }

  /** The advisor is within the loop of tool calls, so that the memory gets the calls too. */
  private static String ask(ScriptedModel model, TurntreeClient client, String question) {
    ChatMemory memory =
        MessageWindowChatMemory.builder()
            .chatMemoryRepository(new TurntreeChatMemoryRepository(client))
            .build();
    return String.valueOf(
        ChatClient.builder(model)
            .defaultAdvisors(
                MessageChatMemoryAdvisor.builder(memory).order(WITHIN_TOOL_CALLS).build())
            .defaultTools(new Tools())
            .build()
            .prompt()
            .system("Be brief.")
            .user(question)
            .advisors(advisors -> advisors.param(ChatMemory.CONVERSATION_ID, "c"))
            .call()
            .content());
  }

  /**
   * An agent with tools goes on with what another program said, its turns and tools are counted as
   * everybody's, and after a restart it still knows everything.
   */
  @Test
  void agent() {
    try (Server server = Server.start();
        TurntreeClient client = TurntreeClient.connect(server.address())) {
      var other = new OtherProgram(client, "c");
      other.add(user("Hello"), assistant("Hi"));
      ScriptedModel model = new ScriptedModel();
      ToolCall call = new ToolCall("c1", "function", "weather", "{\"city\": \"Lisbon\"}");
      model.answers.add(AssistantMessage.builder().content("").toolCalls(List.of(call)).build());
      model.answers.add(new AssistantMessage("Sunny."));
      assertEquals("Sunny.", ask(model, client, "Weather in Lisbon?"));
      assertEquals(4, model.asked.get(0).size());
      assertEquals(6, model.asked.get(1).size());
      assertEquals(List.of("weather 1 in turn 2"), other.tools());
      assertEquals(
          List.of(
              "1 user",
              "1 assistant",
              "2 user",
              "2 function_call",
              "2 function_call_output",
              "2 assistant"),
          other.outline());

      server.kill();
      server.startAgain();
      ScriptedModel next = new ScriptedModel();
      next.answers.add(new AssistantMessage("Sunny."));
      ask(next, client, "Once more?");
      assertEquals(8, next.asked.get(0).size());
      assertEquals(model.asked.get(1), next.asked.get(0).subList(0, 6));
    }
  }
}
