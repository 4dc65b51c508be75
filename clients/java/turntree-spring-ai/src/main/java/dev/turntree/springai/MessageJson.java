package dev.turntree.springai;

import java.net.MalformedURLException;
import java.net.URI;
import java.net.URL;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.springframework.ai.chat.messages.AbstractMessage;
import org.springframework.ai.chat.messages.AssistantMessage;
import org.springframework.ai.chat.messages.AssistantMessage.ToolCall;
import org.springframework.ai.chat.messages.Message;
import org.springframework.ai.chat.messages.MessageType;
import org.springframework.ai.chat.messages.SystemMessage;
import org.springframework.ai.chat.messages.ToolResponseMessage;
import org.springframework.ai.chat.messages.ToolResponseMessage.ToolResponse;
import org.springframework.ai.chat.messages.UserMessage;
import org.springframework.ai.content.Media;
import org.springframework.ai.content.MediaContent;
import org.springframework.util.MimeType;
import tools.jackson.core.JacksonException;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/**
 * Spring AI's messages as JSON, which Spring AI itself has no form for: the fields of its classes
 * by their names. Metadata that is not JSON comes back as what Jackson makes of it.
 */
final class MessageJson {
  static final JsonMapper MAPPER = JsonMapper.builder().build();

  private MessageJson() {}

  static String write(Message message) {
    return MAPPER.writeValueAsString(values(message));
  }

  /** What a message's JSON is made of. */
  static Map<String, Object> values(Message message) {
    Map<String, Object> json = new LinkedHashMap<>();
    json.put("messageType", message.getMessageType().name());
    if (message.getText() != null) {
      json.put("text", message.getText());
    }
    Map<String, JsonNode> metadata = trees(message.getMetadata());
    metadata.remove(AbstractMessage.MESSAGE_TYPE);
    json.put("metadata", metadata);
    if (message instanceof MediaContent content) {
      json.put("media", content.getMedia().stream().map(MessageJson::media).toList());
    }
    if (message instanceof AssistantMessage answer) {
      json.put("toolCalls", answer.getToolCalls());
    }
    if (message instanceof ToolResponseMessage tools) {
      json.put("responses", tools.getResponses());
    }
    return json;
  }

  /** Values of any class as JSON. */
  static Map<String, JsonNode> trees(Map<String, ?> values) {
    Map<String, JsonNode> trees = new LinkedHashMap<>();
    values.forEach((key, value) -> trees.put(key, tree(value)));
    return trees;
  }

  private static JsonNode tree(@Nullable Object value) {
    try {
      return MAPPER.valueToTree(value);
    } catch (JacksonException error) {
      return MAPPER.valueToTree(String.valueOf(value));
    }
  }

  private static Map<String, Object> media(Media media) {
    Map<String, Object> json = new LinkedHashMap<>();
    if (media.getId() != null) {
      json.put("id", media.getId());
    }
    json.put("name", media.getName());
    json.put("mimeType", media.getMimeType().toString());
    if (media.getData() instanceof byte[] bytes) {
      json.put("bytes", bytes);
    } else if (media.getData() instanceof URL url) {
      json.put("url", url.toString());
    } else {
      json.put("data", media.getData().toString());
    }
    return json;
  }

  static Message read(String text) {
    return read(MAPPER.readTree(text));
  }

  static Message read(JsonNode json) {
    String said = text(json, "text");
    Map<String, Object> metadata = objects(json.required("metadata"));
    return switch (MessageType.valueOf(json.required("messageType").asString())) {
      case SYSTEM -> SystemMessage.builder().text(required(said)).metadata(metadata).build();
      case USER ->
          UserMessage.builder().text(required(said)).metadata(metadata).media(media(json)).build();
      case ASSISTANT ->
          AssistantMessage.builder()
              .content(said)
              .properties(metadata)
              .toolCalls(list(json, "toolCalls", ToolCall.class))
              .media(media(json))
              .build();
      case TOOL ->
          ToolResponseMessage.builder()
              .responses(list(json, "responses", ToolResponse.class))
              .metadata(metadata)
              .build();
    };
  }

  private static String required(@Nullable String text) {
    return text == null ? "" : text;
  }

  private static @Nullable String text(JsonNode json, String key) {
    JsonNode value = json.get(key);
    return value == null || value.isNull() ? null : value.asString();
  }

  /** The values of a JSON object, as Java has them. */
  static Map<String, Object> objects(JsonNode json) {
    Map<String, Object> objects = new LinkedHashMap<>();
    for (var entry : json.properties()) {
      objects.put(entry.getKey(), MAPPER.treeToValue(entry.getValue(), Object.class));
    }
    return objects;
  }

  private static <T> List<T> list(JsonNode json, String key, Class<T> type) {
    List<T> list = new ArrayList<>();
    for (JsonNode value : json.required(key)) {
      list.add(MAPPER.treeToValue(value, type));
    }
    return list;
  }

  private static List<Media> media(JsonNode json) {
    List<Media> all = new ArrayList<>();
    for (JsonNode value : json.required("media")) {
      var media = Media.builder().mimeType(MimeType.valueOf(value.required("mimeType").asString()));
      String id = text(value, "id");
      if (id != null) {
        media.id(id);
      }
      media.name(value.required("name").asString());
      if (value.has("bytes")) {
        media.data(value.required("bytes").binaryValue());
      } else if (value.has("url")) {
        media.data(url(value.required("url").asString()));
      } else {
        media.data(value.required("data").asString());
      }
      all.add(media.build());
    }
    return all;
  }

  private static URL url(String text) {
    try {
      return URI.create(text).toURL();
    } catch (MalformedURLException error) {
      throw new IllegalArgumentException(error);
    }
  }
}
