package dev.turntree.langchain4j;

import dev.langchain4j.data.audio.Audio;
import dev.langchain4j.data.image.Image;
import dev.langchain4j.data.message.AudioContent;
import dev.langchain4j.data.message.Content;
import dev.langchain4j.data.message.ImageContent;
import dev.langchain4j.data.message.ImageContent.DetailLevel;
import dev.langchain4j.data.message.PdfFileContent;
import dev.langchain4j.data.message.TextContent;
import dev.langchain4j.data.pdf.PdfFile;
import dev.turntree.memory.PlainMessage;
import dev.turntree.memory.PlainMessage.File;
import dev.turntree.memory.PlainMessage.Part;
import dev.turntree.memory.PlainMessage.Text;
import java.net.URI;
import java.net.URISyntaxException;
import java.util.Locale;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/**
 * The contents of messages, of which the Responses form knows texts, images, PDFs and two kinds of
 * sound. For all else a word in brackets stands there, such as {@code [video]}.
 */
final class Contents {
  private static final Pattern DATA = Pattern.compile("data:([^;,]+);base64,(.*)", Pattern.DOTALL);
  private static final Map<String, String> SOUNDS = Map.of("audio/wav", "wav", "audio/mpeg", "mp3");

  private Contents() {}

  static Part part(Content content) {
    if (content instanceof TextContent text) {
      return new Text(text.text());
    }
    if (content instanceof ImageContent image) {
      String url = url(image.image().url(), image.image().base64Data(), image.image().mimeType());
      return url == null ? unknown(content) : new PlainMessage.Image(url, detail(image));
    }
    if (content instanceof PdfFileContent pdf) {
      String data = pdf.pdfFile().base64Data();
      String url = url(pdf.pdfFile().url(), data, pdf.pdfFile().mimeType());
      return url == null ? unknown(content) : new File(data == null ? null : "document.pdf", url);
    }
    if (content instanceof AudioContent sound) {
      String format = SOUNDS.get(String.valueOf(sound.audio().mimeType()));
      String data = sound.audio().base64Data();
      return format == null || data == null
          ? unknown(content)
          : new PlainMessage.Audio(format, data);
    }
    return unknown(content);
  }

  private static Part unknown(Content content) {
    return new Text("[" + content.type().name().toLowerCase(Locale.ROOT) + "]");
  }

  private static @Nullable String url(
      @Nullable URI url, @Nullable String base64, @Nullable String mimeType) {
    if (base64 != null) {
      return mimeType == null ? null : "data:" + mimeType + ";base64," + base64;
    }
    return url == null ? null : url.toString();
  }

  private static String detail(ImageContent image) {
    return switch (image.detailLevel()) {
      case LOW -> "low";
      case HIGH, ULTRA_HIGH -> "high";
      default -> "auto";
    };
  }

  static Content content(Part part) {
    if (part instanceof PlainMessage.Image image) {
      return image(image);
    }
    if (part instanceof File file) {
      return file(file);
    }
    if (part instanceof PlainMessage.Audio sound) {
      String mimeType = sound.format().equals("mp3") ? "audio/mpeg" : "audio/" + sound.format();
      return AudioContent.from(Audio.builder().base64Data(sound.data()).mimeType(mimeType).build());
    }
    return TextContent.from(((Text) part).text());
  }

  private static Content image(PlainMessage.Image image) {
    DetailLevel detail =
        switch (image.detail()) {
          case "low" -> DetailLevel.LOW;
          case "high" -> DetailLevel.HIGH;
          default -> DetailLevel.AUTO;
        };
    Matcher data = DATA.matcher(image.url());
    if (data.matches()) {
      var shown = Image.builder().mimeType(data.group(1)).base64Data(data.group(2)).build();
      return ImageContent.from(shown, detail);
    }
    URI url = uri(image.url());
    return url == null
        ? TextContent.from("[image]")
        : ImageContent.from(Image.builder().url(url).build(), detail);
  }

  private static Content file(File file) {
    Matcher data = DATA.matcher(file.url());
    if (data.matches() && data.group(1).equals(PdfFile.DEFAULT_MIME_TYPE)) {
      return PdfFileContent.from(
          PdfFile.builder().base64Data(data.group(2)).mimeType(data.group(1)).build());
    }
    URI url = data.matches() ? null : uri(file.url());
    boolean isPdf = url != null && String.valueOf(url.getPath()).endsWith(".pdf");
    return url != null && isPdf
        ? PdfFileContent.from(PdfFile.builder().url(url).build())
        : TextContent.from("[file]");
  }

  private static @Nullable URI uri(String text) {
    try {
      return new URI(text);
    } catch (URISyntaxException error) {
      return null;
    }
  }
}
