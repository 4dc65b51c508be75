package dev.turntree;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import dev.turntree.v1.ErrorReason;
import java.io.File;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What is an address, and what is not, is the same in every client: clients/addresses.json. */
class AddressTest {
  private static List<JsonElement> addresses(String kind) throws IOException {
    String text = Files.readString(Path.of("..", "..", "addresses.json"));
    return JsonParser.parseString(text).getAsJsonObject().getAsJsonArray(kind).asList();
  }

  private static String text(JsonObject object, String key) {
    return object.get(key).getAsString();
  }

  /** With TLS an address names its files as options, percent-encoded. */
  @Test
  void accepted() throws IOException {
    for (JsonElement element : addresses("accepted")) {
      JsonObject accepted = element.getAsJsonObject();
      Address address = Address.parse(text(accepted, "url"));
      assertEquals(text(accepted, "target"), address.target());
      assertEquals(accepted.has("tls"), address.isTls());
      Map<String, File> files = new HashMap<>();
      if (accepted.has("tls")) {
        JsonObject tls = accepted.getAsJsonObject("tls");
        tls.keySet().forEach(option -> files.put(option, new File(text(tls, option))));
      }
      assertEquals(files, address.files());
    }
  }

  /** What is none is refused with the field, the value and the limit; a password is not shown. */
  @Test
  void refused() throws IOException {
    for (JsonElement element : addresses("refused")) {
      String url = text(element.getAsJsonObject(), "url");
      var error = assertThrows(TurntreeException.class, () -> Address.parse(url), url);
      assertEquals(ErrorReason.ERROR_REASON_FIELD_INVALID, error.reason());
      assertEquals("url", error.facts().get("field"));
      assertEquals(text(element.getAsJsonObject(), "shown"), error.facts().get("value"));
      assertNotEquals("", error.facts().getOrDefault("limit", ""));
      assertFalse(error.toString().contains("hunter2"));
    }
  }

  /** A file that cannot be read, or is not in PEM, is named by its option and path. */
  @Test
  void badFiles(@TempDir Path folder) throws IOException {
    Path missing = folder.resolve("missing.pem");
    Path text = Files.writeString(folder.resolve("text.pem"), "no certificate");
    Path half =
        Files.writeString(folder.resolve("half.pem"), "-----BEGIN CERTIFICATE-----\nAAAA\n");
    for (Path path : List.of(missing, folder, text, half)) {
      assertNamed("ca_file", path, "ca_file=" + path);
      assertNamed("cert_file", path, "cert_file=" + path + "&key_file=" + text);
    }
  }

  private static void assertNamed(String option, Path path, String query) {
    Address address = Address.parse("turntrees://h:1?" + query);
    var error = assertThrows(TurntreeException.class, address::credentials, query);
    assertEquals(option, error.facts().get("field"));
    assertEquals(path.toString(), error.facts().get("value"));
  }

  /** Only localhost and the loopback addresses are this machine. */
  @Test
  void loopback() {
    for (String target : List.of("LOCALHOST:1", "127.8.9.1:1", "[::1]:1")) {
      assertTrue(Address.parse(target).isPrivate(), target);
    }
    for (String target :
        List.of("localhost.example:1", "0.0.0.0:1", "127.0.0.1.example:1", "[2001:db8::1]:1")) {
      assertFalse(Address.parse(target).isPrivate(), target);
    }
  }
}
