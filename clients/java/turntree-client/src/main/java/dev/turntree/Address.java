package dev.turntree;

import io.grpc.ChannelCredentials;
import io.grpc.InsecureChannelCredentials;
import io.grpc.TlsChannelCredentials;
import java.io.ByteArrayInputStream;
import java.io.File;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.URLDecoder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.InvalidPathException;
import java.security.cert.CertificateException;
import java.security.cert.CertificateFactory;
import java.util.HashMap;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** Where a server is, and the files for TLS by the names of their options. */
record Address(String host, int port, boolean isTls, Map<String, File> files) {
  private static final Pattern TARGET =
      Pattern.compile("([A-Za-z0-9._-]+|\\[[0-9A-Fa-f:.]+\\]):([0-9]{1,5})/?");
  private static final Pattern PASSWORD = Pattern.compile("^([\\w+.-]+://)?.*@", Pattern.DOTALL);
  private static final Pattern LOOPBACK =
      Pattern.compile("localhost|127(\\.[0-9]{1,3}){3}|\\[::1\\]");
  private static final Set<String> OPTIONS = Set.of("ca_file", "cert_file", "key_file");
  private static final String FORMS =
      "host:port, turntree://host:port or turntrees://host:port?ca_file=…&cert_file=…&key_file=…";

  static Address parse(String url) {
    int separator = url.indexOf("://");
    String scheme = separator < 0 ? "turntree" : url.substring(0, separator);
    boolean isTls = scheme.equals("turntrees");
    String rest = separator < 0 ? url : url.substring(separator + 3);
    int question = separator < 0 ? -1 : rest.indexOf('?');
    String query = question < 0 ? "" : rest.substring(question + 1);
    String place = question < 0 ? rest : rest.substring(0, question);
    if ((place + query.split("=", 2)[0]).contains("@")) {
      throw refused(url, "without a user and a password: a token is given to the builder");
    }
    Matcher target = TARGET.matcher(place);
    boolean isKnown = isTls || (scheme.equals("turntree") && query.isEmpty());
    if (!isKnown || url.contains("#") || !target.matches()) {
      throw refused(url, FORMS);
    }
    int port = Integer.parseInt(target.group(2));
    if (port < 1 || port > 65535 || (separator < 0 && place.endsWith("/"))) {
      throw refused(url, FORMS);
    }
    return new Address(target.group(1), port, isTls, files(url, query));
  }

  private static Map<String, File> files(String url, String query) {
    Map<String, File> files = new HashMap<>();
    for (String option : query.isEmpty() ? new String[0] : query.split("&")) {
      String[] pair = option.split("=", 2);
      String name = pair[0];
      if (!OPTIONS.contains(name)) {
        throw refused(url, "without the option '" + name + "'");
      }
      String path = pair.length == 1 ? "" : decoded(url, pair[1]);
      if (path.isEmpty() || files.put(name, new File(path)) != null) {
        throw refused(url, "with one file as '" + name + "'");
      }
    }
    if (files.containsKey("cert_file") != files.containsKey("key_file")) {
      throw refused(url, "with both cert_file and key_file, or neither");
    }
    return Map.copyOf(files);
  }

  private static String decoded(String url, String text) {
    try {
      return URLDecoder.decode(text, StandardCharsets.UTF_8);
    } catch (IllegalArgumentException malformed) {
      throw refused(url, "percent-encoded");
    }
  }

  /** The error of a URL, which it shows without the password that it may have. */
  private static TurntreeException refused(String url, String limit) {
    return TurntreeException.invalid(
        "url", PASSWORD.matcher(url).replaceFirst("$1(hidden)@"), limit);
  }

  String target() {
    return host + ":" + port;
  }

  /** Whether nobody else can read what is sent there. */
  boolean isPrivate() {
    return isTls || LOOPBACK.matcher(host.toLowerCase(Locale.ROOT)).matches();
  }

  /** What to show and to trust; files that gRPC could not use are refused by option and path. */
  ChannelCredentials credentials() {
    if (!isTls) {
      return InsecureChannelCredentials.create();
    }
    var tls = TlsChannelCredentials.newBuilder();
    File trusted = files.get("ca_file");
    File certificate = files.get("cert_file");
    File key = files.get("key_file");
    try {
      if (trusted != null) {
        tls.trustManager(new ByteArrayInputStream(certificates("ca_file", trusted)));
      }
      if (certificate != null && key != null) {
        tls.keyManager(
            new ByteArrayInputStream(certificates("cert_file", certificate)),
            new ByteArrayInputStream(privateKey(key)));
      }
    } catch (IOException unheardOf) {
      throw new UncheckedIOException(unheardOf); // no stream of bytes in memory fails
    }
    return tls.build();
  }

  private static byte[] certificates(String option, File file) {
    byte[] contents = contents(option, file);
    try {
      var factory = CertificateFactory.getInstance("X.509");
      if (!factory.generateCertificates(new ByteArrayInputStream(contents)).isEmpty()) {
        return contents;
      }
    } catch (CertificateException malformed) {
      // is told of below
    }
    throw TurntreeException.invalid(
        option, file.getPath(), "a file that holds a certificate in PEM");
  }

  private static byte[] privateKey(File file) {
    byte[] contents = contents("key_file", file);
    if (new String(contents, StandardCharsets.ISO_8859_1).contains("PRIVATE KEY-----")) {
      return contents;
    }
    throw TurntreeException.invalid(
        "key_file", file.getPath(), "a file that holds a private key in PEM");
  }

  private static byte[] contents(String option, File file) {
    try {
      return Files.readAllBytes(file.toPath());
    } catch (IOException | InvalidPathException error) {
      throw TurntreeException.invalid(option, file.getPath(), "a file that can be read");
    }
  }
}
