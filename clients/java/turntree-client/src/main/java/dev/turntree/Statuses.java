package dev.turntree;

import com.google.protobuf.Any;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.rpc.ErrorInfo;
import com.google.rpc.RetryInfo;
import dev.turntree.v1.ErrorReason;
import io.grpc.Metadata;
import io.grpc.Status;
import io.grpc.protobuf.StatusProto;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** The statuses of gRPC as errors. */
final class Statuses {
  private static final String DOMAIN = "turntree";

  private Statuses() {}

  static TurntreeException toException(Status status, @Nullable Metadata trailers, String target) {
    if (status.getCause() instanceof TurntreeException own) { // of the client itself
      return own;
    }
    ErrorInfo info = null;
    Duration retryAfter = null;
    try {
      for (Any detail : details(status, trailers)) {
        if (detail.is(ErrorInfo.class)) {
          ErrorInfo candidate = detail.unpack(ErrorInfo.class);
          info = candidate.getDomain().equals(DOMAIN) ? candidate : info;
        } else if (detail.is(RetryInfo.class)) {
          var delay = detail.unpack(RetryInfo.class).getRetryDelay();
          retryAfter = Duration.ofSeconds(delay.getSeconds(), delay.getNanos());
        }
      }
    } catch (InvalidProtocolBufferException madeByOthers) {
      info = null;
    }
    String description = status.getDescription() == null ? "" : status.getDescription();
    Throwable cause = status.getCause();
    if (info != null) {
      ErrorReason reason = reasonOf(info.getReason());
      var facts = info.getMetadataMap();
      return new TurntreeException(status.getCode(), reason, description, facts, retryAfter, cause);
    }
    String message = target + ": " + (description.isEmpty() ? status.getCode() : description);
    for (Throwable t = cause; t != null; t = t.getCause()) {
      message += ": " + t.getMessage();
    }
    return switch (status.getCode()) {
      // A server of turntree says these with its ErrorInfo or never. Without one they are gRPC's
      // own words for a connection that broke.
      case UNAVAILABLE, INTERNAL, UNKNOWN, CANCELLED -> unreachable(target, message, cause);
      case DEADLINE_EXCEEDED -> bare(status, ErrorReason.ERROR_REASON_DEADLINE_EXCEEDED, message);
      case RESOURCE_EXHAUSTED -> bare(status, ErrorReason.ERROR_REASON_MESSAGE_TOO_LARGE, message);
      case UNAUTHENTICATED -> bare(status, ErrorReason.ERROR_REASON_CREDENTIAL_INVALID, message);
      default -> bare(status, ErrorReason.ERROR_REASON_INTERNAL, message);
    };
  }

  private static TurntreeException bare(Status status, ErrorReason reason, String message) {
    return new TurntreeException(
        status.getCode(), reason, message, Map.of(), null, status.getCause());
  }

  private static List<Any> details(Status status, @Nullable Metadata trailers) {
    var proto = trailers == null ? null : StatusProto.fromStatusAndTrailers(status, trailers);
    return proto == null ? List.of() : proto.getDetailsList();
  }

  private static TurntreeException unreachable(
      String target, String message, @Nullable Throwable cause) {
    return new TurntreeException(
        Status.Code.UNAVAILABLE,
        ErrorReason.ERROR_REASON_SERVER_UNREACHABLE,
        message,
        Map.of("target", target),
        null,
        cause);
  }

  private static ErrorReason reasonOf(String name) {
    try {
      return ErrorReason.valueOf(name);
    } catch (IllegalArgumentException newerThanThisClient) {
      return ErrorReason.ERROR_REASON_UNSPECIFIED;
    }
  }

  /** The error of what is still asked of a client that was closed. */
  static TurntreeException closed() {
    return stopped("the client was closed");
  }

  /** The error of a stream that ended although it never does. */
  static TurntreeException stopped(String message) {
    return new TurntreeException(
        Status.Code.UNAVAILABLE,
        ErrorReason.ERROR_REASON_SERVER_STOPPING,
        message,
        Map.of(),
        null,
        null);
  }
}
