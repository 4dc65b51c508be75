package dev.turntree.memory;

import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParseException;
import com.google.gson.JsonParser;
import com.google.gson.JsonPrimitive;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;

/** Reads JSON of unknown shape. Nothing here throws for what another program may have written. */
final class Json {
  private Json() {}

  /** The object that a text is, or null. */
  static @Nullable JsonObject object(String text) {
    try {
      return JsonParser.parseString(text) instanceof JsonObject object ? object : null;
    } catch (JsonParseException | StackOverflowError error) {
      return null;
    }
  }

  /** The text under a key, or null. */
  static @Nullable String text(JsonObject object, String key) {
    return object.get(key) instanceof JsonPrimitive value && value.isString()
        ? value.getAsString()
        : null;
  }

  static String text(JsonObject object, String key, String otherwise) {
    String found = text(object, key);
    return found == null ? otherwise : found;
  }

  /** The same JSON with the keys of its objects in order, so that equal values are equal texts. */
  static String canonical(String text) {
    return sorted(JsonParser.parseString(text)).toString();
  }

  private static JsonElement sorted(JsonElement value) {
    if (value instanceof JsonObject object) {
      JsonObject sorted = new JsonObject();
      new TreeMap<>(object.asMap()).forEach((key, inner) -> sorted.add(key, sorted(inner)));
      return sorted;
    }
    if (value instanceof JsonArray array) {
      JsonArray sorted = new JsonArray(array.size());
      array.forEach(inner -> sorted.add(sorted(inner)));
      return sorted;
    }
    return value;
  }
}
