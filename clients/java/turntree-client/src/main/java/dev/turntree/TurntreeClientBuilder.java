package dev.turntree;

import java.time.Duration;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/** Sets up a {@link TurntreeClient}. */
public final class TurntreeClientBuilder {
  private static final Duration LONGEST = Duration.ofDays(1);

  private final Address address;
  private Duration timeout = Duration.ofSeconds(30);
  private Duration retryFor = Duration.ofSeconds(8);
  private final @Nullable String environmentToken;
  private @Nullable Token token;

  TurntreeClientBuilder(String address, @Nullable String environmentToken) {
    this.address = Address.parse(address);
    this.environmentToken = environmentToken;
  }

  /**
   * The credential, instead of that of the environment variable {@code TURNTREE_TOKEN}.
   *
   * @throws TurntreeException FIELD_INVALID if it has other characters than visible ones of ASCII
   */
  public TurntreeClientBuilder token(String text) {
    token = Token.text(text);
    return this;
  }

  /**
   * A function that gives a fresh credential for each stream, which is opened again when the server
   * no longer takes the one that it was opened with. It is given up after the time of a call.
   */
  public TurntreeClientBuilder token(Supplier<String> source) {
    token = new Token(source, true);
    return this;
  }

  /** How long a call may take, its retries included: 30 seconds if not set, at most a day. */
  public TurntreeClientBuilder timeout(Duration time) {
    timeout = checkedTimeout(time);
    return this;
  }

  /**
   * How long a call that finds no server is tried again: 8 seconds if not set, at most a day; 0 for
   * never.
   */
  public TurntreeClientBuilder retryFor(Duration time) {
    if (time.isNegative() || time.compareTo(LONGEST) > 0) {
      throw TurntreeException.invalid("retryFor", time.toString(), "0 or more and at most a day");
    }
    retryFor = time;
    return this;
  }

  static Duration checkedTimeout(Duration time) {
    if (time.isNegative() || time.isZero() || time.compareTo(LONGEST) > 0) {
      throw TurntreeException.invalid(
          "timeout", time.toString(), "longer than 0 and at most a day");
    }
    return time;
  }

  /**
   * The client. It connects with its first call.
   *
   * @throws TurntreeException FIELD_INVALID for a token that would be sent without TLS to another
   *     machine, and for one of the environment that cannot be sent
   */
  public TurntreeClient build() {
    Token chosen = token;
    if (chosen == null && environmentToken != null && !environmentToken.isEmpty()) {
      chosen = Token.text(environmentToken);
    }
    return new TurntreeClient(
        new AsyncTurntreeClient(new Connection(address, chosen, timeout), timeout, retryFor));
  }
}
