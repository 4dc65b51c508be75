package dev.turntree.springai;

import java.time.Instant;
import java.util.LinkedHashMap;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.springframework.ai.chat.messages.Message;
import org.springframework.ai.session.SessionEvent;
import tools.jackson.databind.JsonNode;

/**
 * A session's event, or a message that another program wrote and that is no event yet.
 *
 * @param own what an event has beside its message; null for a message of another program
 */
record Event(Message message, @Nullable Own own) {
  private static final String OTHERS_PREFIX = "item-";

  record Own(
      String id,
      Instant timestamp,
      Map<String, Object> metadata,
      @Nullable String branch,
      boolean isArchived) {}

  static Event of(SessionEvent event) {
    if (event.getId().startsWith(OTHERS_PREFIX) && !event.isArchived()) {
      return new Event(event.getMessage(), null);
    }
    return new Event(
        event.getMessage(),
        new Own(
            event.getId(),
            event.getTimestamp(),
            event.getMetadata(),
            event.getBranch(),
            event.isArchived()));
  }

  /**
   * The event of a session. That of another program is named by its place, and of an unknown time.
   */
  SessionEvent in(String sessionId, int place) {
    var event = SessionEvent.builder().sessionId(sessionId).message(message);
    return own == null
        ? event.id(OTHERS_PREFIX + place).timestamp(Instant.EPOCH).build()
        : event
            .id(own.id())
            .timestamp(own.timestamp())
            .metadata(own.metadata())
            .branch(own.branch())
            .archived(own.isArchived())
            .build();
  }

  String json() {
    Map<String, Object> json = new LinkedHashMap<>();
    json.put("message", MessageJson.values(message));
    if (own != null) {
      json.put("id", own.id());
      json.put("timestamp", own.timestamp().toString());
      json.put("metadata", MessageJson.trees(own.metadata()));
      json.put("archived", own.isArchived());
      if (own.branch() != null) {
        json.put("branch", own.branch());
      }
    }
    return MessageJson.MAPPER.writeValueAsString(json);
  }

  static Event fromJson(String text) {
    JsonNode json = MessageJson.MAPPER.readTree(text);
    JsonNode branch = json.get("branch");
    return new Event(
        MessageJson.read(json.required("message")),
        new Own(
            json.required("id").asString(),
            Instant.parse(json.required("timestamp").asString()),
            MessageJson.objects(json.required("metadata")),
            branch == null ? null : branch.asString(),
            json.required("archived").asBoolean()));
  }
}
