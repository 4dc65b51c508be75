package dev.turntree;

import dev.turntree.v1.ErrorReason;
import io.grpc.Status;
import java.time.Duration;
import java.util.Map;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * Why a call failed. The code says what to do, the reason says why, and the facts are those that
 * the docs of the {@link ErrorReason} list. Neither message nor facts hold the content of items.
 */
@SuppressWarnings("serial")
public final class TurntreeException extends RuntimeException {
  private final Status.Code code;
  private final ErrorReason reason;
  private final Map<String, String> facts;
  private final @Nullable Duration retryAfter;

  TurntreeException(
      Status.Code code,
      ErrorReason reason,
      String message,
      Map<String, String> facts,
      @Nullable Duration retryAfter,
      @Nullable Throwable cause) {
    super(message, cause);
    this.code = code;
    this.reason = reason;
    this.facts = Map.copyOf(facts);
    this.retryAfter = retryAfter;
  }

  static TurntreeException invalid(String field, String value, String limit) {
    String shown = value.length() > 64 ? value.substring(0, 64) : value;
    return new TurntreeException(
        Status.Code.INVALID_ARGUMENT,
        ErrorReason.ERROR_REASON_FIELD_INVALID,
        field + " is '" + shown + "'; it must be " + limit,
        Map.of("field", field, "value", shown, "limit", limit),
        null,
        null);
  }

  /** The same error with the stack of the thread that waited for it. */
  TurntreeException asSeenByCaller() {
    return new TurntreeException(code, reason, message(), facts, retryAfter, this);
  }

  private String message() {
    String message = getMessage();
    return message == null ? "" : message;
  }

  /** The canonical code of gRPC. */
  public Status.Code code() {
    return code;
  }

  /** The cause; {@code ERROR_REASON_UNSPECIFIED} when this client does not know it. */
  public ErrorReason reason() {
    return reason;
  }

  /** What the cause is about, such as {@code field}, {@code value} and {@code limit}. */
  public Map<String, String> facts() {
    return facts;
  }

  /** How long the server asks to wait before the call is made again. */
  public Optional<Duration> retryAfter() {
    return Optional.ofNullable(retryAfter);
  }

  /** Whether the same call may succeed a little later. */
  boolean isRetryable() {
    return code == Status.Code.UNAVAILABLE
        || (code == Status.Code.RESOURCE_EXHAUSTED && retryAfter != null);
  }
}
