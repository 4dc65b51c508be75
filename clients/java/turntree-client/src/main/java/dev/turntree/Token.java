package dev.turntree;

import dev.turntree.v1.ErrorReason;
import io.grpc.Status;
import java.util.Map;
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
   * @throws TurntreeException CREDENTIAL_REQUIRED if the function fails, FIELD_INVALID if what it
   *     gives is no token
   */
  String get() {
    String token;
    try {
      token = source.get();
    } catch (Throwable error) { // whatever it is, the call that waits for the token is to end
      throw new TurntreeException(
          Status.Code.UNAUTHENTICATED,
          ErrorReason.ERROR_REASON_CREDENTIAL_REQUIRED,
          "no token: " + error,
          Map.of(),
          null,
          error);
    }
    return checked(token);
  }

  /** Refuses what cannot be sent, without showing it. */
  private static String checked(@Nullable String token) {
    if (token == null || !VISIBLE.matcher(token).matches()) {
      throw TurntreeException.invalid("token", "(hidden)", "a token of visible ASCII characters");
    }
    return token;
  }
}
