package dev.turntree.memory;

import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonPrimitive;
import dev.turntree.memory.PlainMessage.Assistant;
import dev.turntree.memory.PlainMessage.Audio;
import dev.turntree.memory.PlainMessage.Call;
import dev.turntree.memory.PlainMessage.File;
import dev.turntree.memory.PlainMessage.Image;
import dev.turntree.memory.PlainMessage.Instructions;
import dev.turntree.memory.PlainMessage.Part;
import dev.turntree.memory.PlainMessage.Result;
import dev.turntree.memory.PlainMessage.Results;
import dev.turntree.memory.PlainMessage.Text;
import dev.turntree.memory.PlainMessage.User;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** Plain messages as items of the Responses input form, and back. */
final class Items {
  private Items() {}

  /** The items that say what a message says: one at least. */
  static List<JsonObject> of(PlainMessage message) {
    List<JsonObject> items = new ArrayList<>();
    if (message instanceof Instructions instructions) {
      items.add(message(instructions.role(), new JsonPrimitive(instructions.text())));
    } else if (message instanceof User user) {
      items.add(message("user", content(user.parts())));
    } else if (message instanceof Assistant assistant) {
      if (assistant.text() != null || assistant.calls().isEmpty()) {
        items.add(answer(assistant.text() == null ? "" : assistant.text()));
      }
      assistant.calls().forEach(call -> items.add(item(call)));
    } else if (message instanceof Results results) {
      results.results().forEach(result -> items.add(item(result)));
    }
    return items;
  }

  private static JsonObject message(String role, JsonElement content) {
    JsonObject item = new JsonObject();
    item.addProperty("role", role);
    item.add("content", content);
    return item;
  }

  private static JsonObject answer(String text) {
    JsonObject part = typed("output_text");
    part.addProperty("text", text);
    part.add("annotations", new JsonArray());
    JsonArray content = new JsonArray();
    content.add(part);
    JsonObject item = typed("message");
    item.addProperty("role", "assistant");
    item.add("content", content);
    return item;
  }

  private static JsonObject item(Call call) {
    JsonObject item = typed("function_call");
    item.addProperty("call_id", call.callId());
    item.addProperty("name", call.name());
    item.addProperty("arguments", call.arguments());
    return item;
  }

  private static JsonObject item(Result result) {
    JsonObject item = typed("function_call_output");
    item.addProperty("call_id", result.callId());
    item.add("output", content(result.output()));
    return item;
  }

  /** A text alone is a text, all else a list of parts. */
  private static JsonElement content(List<Part> parts) {
    if (parts.size() == 1 && parts.get(0) instanceof Text only) {
      return new JsonPrimitive(only.text());
    }
    JsonArray content = new JsonArray();
    for (Part part : parts) {
      content.add(content(part));
    }
    return content;
  }

  private static JsonObject content(Part part) {
    if (part instanceof Image image) {
      JsonObject input = typed("input_image");
      input.addProperty("image_url", image.url());
      input.addProperty("detail", image.detail());
      return input;
    }
    if (part instanceof File file) {
      JsonObject input = typed("input_file");
      if (file.name() != null) {
        input.addProperty("filename", file.name());
      }
      input.addProperty(file.url().startsWith("data:") ? "file_data" : "file_url", file.url());
      return input;
    }
    if (part instanceof Audio audio) {
      JsonObject sound = new JsonObject();
      sound.addProperty("data", audio.data());
      sound.addProperty("format", audio.format());
      JsonObject input = typed("input_audio");
      input.add("input_audio", sound);
      return input;
    }
    JsonObject input = typed("input_text");
    input.addProperty("text", part instanceof Text text ? text.text() : "");
    return input;
  }

  private static JsonObject typed(String type) {
    JsonObject object = new JsonObject();
    object.addProperty("type", type);
    return object;
  }

  /** The message that an item is, or null if it is none, or none of a known role. */
  static @Nullable PlainMessage message(JsonObject item) {
    if (!Json.text(item, "type", "message").equals("message")) {
      return null;
    }
    JsonElement content = item.get("content");
    return switch (Json.text(item, "role", "")) {
      case "user" -> content == null ? null : new User(parts(content));
      case "assistant" -> content == null ? null : new Assistant(plainText(content), List.of());
      case "system", "developer" ->
          content == null
              ? null
              : new Instructions(Json.text(item, "role", ""), plainText(content));
      default -> null;
    };
  }

  /** The call that an item is, or null. */
  static @Nullable Call call(JsonObject item) {
    String callId = Json.text(item, "call_id");
    String name = Json.text(item, "name");
    String arguments = Json.text(item, "arguments");
    boolean isCall = Json.text(item, "type", "").equals("function_call");
    return isCall && callId != null && name != null && arguments != null
        ? new Call(callId, name, arguments)
        : null;
  }

  /** The id of the call that an item answers, or null if it is no answer of a function. */
  static @Nullable String answeredCall(JsonObject item) {
    boolean isOutput = Json.text(item, "type", "").equals("function_call_output");
    return isOutput && item.has("output") ? Json.text(item, "call_id") : null;
  }

  static List<Part> output(JsonObject item) {
    return parts(item.get("output"));
  }

  private static List<Part> parts(JsonElement content) {
    List<Part> parts = new ArrayList<>();
    if (content instanceof JsonArray list) {
      list.forEach(part -> parts.add(part(part)));
    } else if (content.isJsonPrimitive()) {
      parts.add(new Text(content.getAsString()));
    } else {
      parts.add(new Text(content.toString()));
    }
    return parts;
  }

  /** A part; what no plain part can say is there as the word that names it. */
  private static Part part(JsonElement value) {
    if (!(value instanceof JsonObject part)) {
      return new Text(value.isJsonPrimitive() ? value.getAsString() : value.toString());
    }
    String type = Json.text(part, "type", "");
    String text = Json.text(part, type.equals("refusal") ? "refusal" : "text");
    if (text != null) {
      return new Text(text);
    }
    String image = Json.text(part, "image_url");
    if (type.equals("input_image") && image != null) {
      return new Image(image, Json.text(part, "detail", "auto"));
    }
    String file = Json.text(part, "file_data");
    file = file == null ? Json.text(part, "file_url") : file;
    if (type.equals("input_file") && file != null) {
      return new File(Json.text(part, "filename"), file);
    }
    if (type.equals("input_audio") && part.get("input_audio") instanceof JsonObject sound) {
      return new Audio(Json.text(sound, "format", "wav"), Json.text(sound, "data", ""));
    }
    return new Text("[" + type + "]");
  }

  private static String plainText(JsonElement content) {
    StringBuilder text = new StringBuilder();
    for (Part part : parts(content)) {
      text.append(part instanceof Text piece ? piece.text() : "");
    }
    return text.toString();
  }
}
