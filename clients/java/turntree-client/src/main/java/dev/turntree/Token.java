package dev.turntree;

import java.util.function.Supplier;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/**
 * The credential of a client.
 *
 * @param isFresh whether it may be another one each time
 */
record Token(Supplier<String> source, boolean isFresh) {
  private static final Pattern VISIBLE = Pattern.compile("[!-~]+");

  /**
   * A token that is always the same.
   *
   * @throws TurntreeException FIELD_INVALID if it is none
   */
  static Token text(String text) {
    String token = checked(text);
    return new Token(() -> token, false);
  }

  /**
   * What is shown now. To ask for it may block.
   *
   * @throws TurntreeException FIELD_INVALID if it is no token
   */
  String get() {
    return checked(source.get());
  }

  /** Refuses what cannot be sent, without showing it. */
  private static String checked(@Nullable String token) {
    if (token == null || !VISIBLE.matcher(token).matches()) {
      throw TurntreeException.invalid("token", "(hidden)", "a token of visible ASCII characters");
    }
    return token;
  }
}
