package dev.turntree;

import java.io.File;
import java.net.URLDecoder;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** Where a server is, and the files for TLS by the names of their options. */
record Address(String host, int port, boolean isTls, Map<String, File> files) {
  private static final Pattern TARGET =
      Pattern.compile("([A-Za-z0-9._-]+|\\[[0-9A-Fa-f:.]+\\]):([0-9]{1,5})");
  private static final Pattern LOOPBACK =
      Pattern.compile("localhost|127(\\.[0-9]{1,3}){3}|\\[::1\\]");
  private static final Set<String> OPTIONS = Set.of("ca_file", "cert_file", "key_file");
  private static final String FORMS =
      "host:port, turntree://host:port or turntrees://host:port?ca_file=…&cert_file=…&key_file=…";

  static Address parse(String url) {
    int at = url.indexOf("://");
    String scheme = at < 0 ? "turntree" : url.substring(0, at);
    String[] rest = (at < 0 ? url : url.substring(at + 3)).split("\\?", 2);
    boolean isTls = scheme.equals("turntrees");
    Matcher target = TARGET.matcher(rest[0]);
    boolean isKnown = isTls || (scheme.equals("turntree") && rest.length == 1);
    if (!isKnown || !target.matches()) {
      throw TurntreeException.invalid("url", url, FORMS);
    }
    int port = Integer.parseInt(target.group(2));
    if (port < 1 || port > 65535) {
      throw TurntreeException.invalid("url", url, FORMS);
    }
    Map<String, File> files = new HashMap<>();
    for (String option : rest.length == 1 ? new String[0] : rest[1].split("&")) {
      String[] pair = option.split("=", 2);
      if (pair.length != 2 || !OPTIONS.contains(pair[0])) {
        throw TurntreeException.invalid("url", url, "without the option '" + pair[0] + "'");
      }
      File file = new File(URLDecoder.decode(pair[1], StandardCharsets.UTF_8));
      if (!file.canRead() || !file.isFile()) {
        throw TurntreeException.invalid(pair[0], file.getPath(), "a file that can be read");
      }
      files.put(pair[0], file);
    }
    if (files.containsKey("cert_file") != files.containsKey("key_file")) {
      throw TurntreeException.invalid("url", url, "with cert_file and key_file both or neither");
    }
    return new Address(target.group(1), port, isTls, Map.copyOf(files));
  }

  String target() {
    return host + ":" + port;
  }

  /** Whether nobody else can read what is sent there. */
  boolean isPrivate() {
    return isTls || LOOPBACK.matcher(host.toLowerCase(Locale.ROOT)).matches();
  }
}
