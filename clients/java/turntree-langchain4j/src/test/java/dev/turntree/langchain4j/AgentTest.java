package dev.turntree.langchain4j;

import static dev.turntree.memory.OtherProgram.assistant;
import static dev.turntree.memory.OtherProgram.user;
import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.langchain4j.agent.tool.P;
import dev.langchain4j.agent.tool.Tool;
import dev.langchain4j.agent.tool.ToolExecutionRequest;
import dev.langchain4j.data.message.AiMessage;
import dev.langchain4j.data.message.ChatMessage;
import dev.langchain4j.memory.chat.MessageWindowChatMemory;
import dev.langchain4j.model.chat.ChatModel;
import dev.langchain4j.model.chat.request.ChatRequest;
import dev.langchain4j.model.chat.response.ChatResponse;
import dev.langchain4j.service.AiServices;
import dev.langchain4j.service.MemoryId;
import dev.langchain4j.service.SystemMessage;
import dev.langchain4j.service.UserMessage;
import dev.turntree.TurntreeClient;
import dev.turntree.memory.OtherProgram;
import dev.turntree.testing.Server;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(120)
class AgentTest {
  interface Assistant {
    @SystemMessage("Be brief.")
    String chat(@MemoryId Object memoryId, @UserMessage String question);
  }

  static final class Tools {
    @Tool
    String weather(@P("the city") String city) {
      return "Sunny in " + city;
    }
  }

  /** Says what it is told to, and remembers what it was asked. */
  static final class ScriptedModel implements ChatModel {
    final Deque<AiMessage> answers = new ArrayDeque<>();
    final List<List<ChatMessage>> asked = new ArrayList<>();

    @Override
    public ChatResponse doChat(ChatRequest request) {
      asked.add(request.messages());
      return ChatResponse.builder().aiMessage(answers.remove()).build();
    }
  }

  private static ToolExecutionRequest weather(String callId, String city) {
    return ToolExecutionRequest.builder()
        .id(callId)
        .name("weather")
        .arguments("{\"city\": \"" + city + "\"}")
        .build();
  }

  private static Assistant assistantWith(ScriptedModel model, TurntreeClient client) {
    var store = new TurntreeChatMemoryStore(client);
    return AiServices.builder(Assistant.class)
        .chatModel(model)
        .tools(new Tools())
        .chatMemoryProvider(
            id ->
                MessageWindowChatMemory.builder()
                    .id(id)
                    .maxMessages(100)
                    .chatMemoryStore(store)
                    .build())
        .build();
  }

  /**
   * An agent with tools goes on with what another program said, its turns and tools are counted as
   * everybody's, and after a restart it still knows everything.
   */
  @Test
  void agent() {
    try (Server server = Server.start();
        TurntreeClient client = TurntreeClient.connect(server.address())) {
      var other = new OtherProgram(client, "42");
      other.add(user("Hello"), assistant("Hi"));
      ScriptedModel model = new ScriptedModel();
      model.answers.add(AiMessage.from(weather("c1", "Lisbon"), weather("c2", "Porto")));
      model.answers.add(AiMessage.from("Sunny in both."));
      assertEquals(
          "Sunny in both.", assistantWith(model, client).chat(42, "Weather in Lisbon, Porto?"));
      assertEquals(4, model.asked.get(0).size());
      assertEquals(7, model.asked.get(1).size());

      assertEquals(List.of("weather 2 in turn 2"), other.tools());
      assertEquals(0, other.natives(TurntreeChatMemoryStore.DIALECT));
      List<String> turns = other.outline().stream().map(row -> row.substring(0, 1)).toList();
      assertEquals(List.of("1", "1", "1", "2", "2", "2", "2", "2", "2"), turns);

      server.kill();
      server.startAgain();
      ScriptedModel next = new ScriptedModel();
      next.answers.add(AiMessage.from("Sunny."));
      assistantWith(next, client).chat(42, "Once more?");
      List<ChatMessage> seen = next.asked.get(0);
      assertEquals(model.asked.get(1), seen.subList(0, 7));
      assertEquals(9, seen.size());
    }
  }
}
