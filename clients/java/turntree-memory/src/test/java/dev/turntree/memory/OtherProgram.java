package dev.turntree.memory;

import com.google.protobuf.ByteString;
import dev.turntree.TurntreeClient;
import dev.turntree.v1.GetConversationByTurnsRequest;
import dev.turntree.v1.GetItemsRequest;
import dev.turntree.v1.ListToolUsageRequest;
import java.util.ArrayList;
import java.util.List;

/** What another program, in no framework's dialect, sees of a session and writes to it. */
public record OtherProgram(TurntreeClient client, String sessionId) {
  /** A user's item. */
  public static String user(String text) {
    return "{\"role\":\"user\",\"content\":\"" + text + "\"}";
  }

  /** An assistant's item. */
  public static String assistant(String text) {
    return "{\"id\":\"msg_1\",\"type\":\"message\",\"role\":\"assistant\",\"status\":\"completed\","
        + "\"content\":[{\"type\":\"output_text\",\"text\":\""
        + text
        + "\",\"annotations\":[]}]}";
  }

  /** A call's item. */
  public static String call(String callId, String tool) {
    return "{\"id\":\"fc_1\",\"type\":\"function_call\",\"call_id\":\""
        + callId
        + "\",\"name\":\""
        + tool
        + "\",\"arguments\":\"{}\"}";
  }

  /** The item of a tool's answer. */
  public static String output(String callId, String text) {
    return "{\"type\":\"function_call_output\",\"call_id\":\""
        + callId
        + "\",\"output\":\""
        + text
        + "\"}";
  }

  /** An item that no framework in Java knows. */
  public static String reasoning(String id) {
    return "{\"type\":\"reasoning\",\"id\":\"" + id + "\",\"summary\":[]}";
  }

  /** Appends items. */
  public void add(String... items) {
    client.session(sessionId).addItems(items);
  }

  /** All items, byte for byte. */
  public List<String> items() {
    return client.session(sessionId).items().stream().map(ByteString::toStringUtf8).toList();
  }

  /** How many items have a native form in a dialect. */
  public int natives(String dialect) {
    var request = GetItemsRequest.newBuilder().setSessionId(sessionId).setNativeDialect(dialect);
    return client.getItems(request.build()).getDelta().getNativesCount();
  }

  /** The turn and type of each item, as the server derived them. */
  public List<String> outline() {
    var request = GetConversationByTurnsRequest.newBuilder().setSessionId(sessionId).build();
    var items = client.getConversationByTurns(request).getItems();
    List<String> outline = new ArrayList<>();
    for (int index = 0; index < items.getTurnsCount(); index++) {
      outline.add(items.getTurns(index) + " " + items.getTypes(items.getTypeIndexes(index)));
    }
    return outline;
  }

  /** How often each tool was called in which turn, as the server counts. */
  public List<String> tools() {
    var request = ListToolUsageRequest.newBuilder().setSessionId(sessionId).build();
    var tools = client.listToolUsage(request).getTools();
    List<String> usage = new ArrayList<>();
    for (int index = 0; index < tools.getTurnsCount(); index++) {
      String name = tools.getToolNames(tools.getToolIndexes(index));
      usage.add(name + " " + tools.getCallCounts(index) + " in turn " + tools.getTurns(index));
    }
    return usage;
  }
}
