package dev.turntree.springai;

import dev.turntree.memory.PlainMessage.Audio;
import dev.turntree.memory.PlainMessage.File;
import dev.turntree.memory.PlainMessage.Image;
import dev.turntree.memory.PlainMessage.Part;
import dev.turntree.memory.PlainMessage.Text;
import java.util.Base64;
import java.util.Locale;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.springframework.ai.content.Media;
import org.springframework.util.InvalidMimeTypeException;
import org.springframework.util.MimeType;

/**
 * Media as parts of the Responses form, which knows images, PDFs and two kinds of sound. For all
 * else its MIME type stands there in brackets.
 */
final class MediaParts {
  private static final Pattern DATA = Pattern.compile("data:([^;,]+);base64,(.*)", Pattern.DOTALL);
  private static final Pattern URL = Pattern.compile("(?i)[a-z][a-z0-9+.-]*:.*", Pattern.DOTALL);

  private MediaParts() {}

  static Part part(Media media) {
    String type = media.getMimeType().getType() + "/" + media.getMimeType().getSubtype();
    String url = url(media, type);
    if (type.startsWith("image/")) {
      return new Image(url, "auto");
    }
    if (type.equals("application/pdf")) {
      return new File(url.startsWith("data:") ? "document.pdf" : null, url);
    }
    String format =
        switch (type) {
          case "audio/wav" -> "wav";
          case "audio/mp3", "audio/mpeg" -> "mp3";
          default -> "";
        };
    Matcher data = DATA.matcher(url);
    return format.isEmpty() || !data.matches()
        ? new Text("[" + type + "]")
        : new Audio(format, data.group(2));
  }

  /** Where the media is, or all of it in a data URL: a text that is no URL is base64. */
  private static String url(Media media, String type) {
    if (media.getData() instanceof byte[] bytes) {
      return "data:" + type + ";base64," + Base64.getEncoder().encodeToString(bytes);
    }
    String text = media.getData().toString();
    return URL.matcher(text).matches() ? text : "data:" + type + ";base64," + text;
  }

  /** The media of a part; none for a text. */
  static Stream<Media> media(Part part) {
    if (part instanceof Image image) {
      return Stream.of(media("image/*", image.url(), "image"));
    }
    if (part instanceof File file) {
      return Stream.of(media("application/octet-stream", file.url(), "file"));
    }
    if (part instanceof Audio sound) {
      String type = "audio/" + sound.format().toLowerCase(Locale.ROOT);
      return Stream.of(media(type, "data:" + type + ";base64," + sound.data(), "sound"));
    }
    return Stream.empty();
  }

  private static Media media(String type, String url, String name) {
    Matcher data = DATA.matcher(url);
    byte[] bytes = data.matches() ? bytes(data.group(2)) : null;
    var media = Media.builder().name(name).mimeType(mimeType(bytes == null ? type : data.group(1)));
    return bytes == null ? media.data(url).build() : media.data(bytes).build();
  }

  private static byte @Nullable [] bytes(String base64) {
    try {
      return Base64.getDecoder().decode(base64);
    } catch (IllegalArgumentException error) {
      return null;
    }
  }

  private static MimeType mimeType(String text) {
    try {
      return MimeType.valueOf(text);
    } catch (InvalidMimeTypeException error) {
      return MimeType.valueOf("application/octet-stream");
    }
  }
}
