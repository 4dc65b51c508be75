package dev.turntree;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.protobuf.Any;
import com.google.rpc.ErrorInfo;
import com.google.rpc.RetryInfo;
import io.grpc.Status;
import io.grpc.protobuf.StatusProto;
import java.time.Duration;
import org.junit.jupiter.api.Test;

/** When a call is tried again, and when not any more. */
class RetriesTest {
  private static final Duration SECOND = Duration.ofSeconds(1);

  private static Retries retries(Duration retryFor, Duration timeout) {
    return new Retries(new Retries.Budget(), retryFor, Retries.CALL_DELAY_MAX, timeout, false);
  }

  private static long nanos(long millis) {
    return Duration.ofMillis(millis).toNanos();
  }

  /** What a server says that asks to wait. */
  private static TurntreeException refusal(long waitMillis) {
    var wait = com.google.protobuf.Duration.newBuilder().setNanos((int) nanos(waitMillis));
    var info =
        ErrorInfo.newBuilder().setDomain("turntree").setReason("ERROR_REASON_STORE_FAILED").build();
    var status =
        com.google.rpc.Status.newBuilder()
            .setCode(Status.Code.UNAVAILABLE.value())
            .addDetails(Any.pack(info))
            .addDetails(Any.pack(RetryInfo.newBuilder().setRetryDelay(wait).build()));
    var thrown = StatusProto.toStatusRuntimeException(status.build());
    return Statuses.toException(thrown.getStatus(), thrown.getTrailers(), "h:1");
  }

  /** No try begins in the last tenth of a second before the deadline, and one is made before it. */
  @Test
  void withinTheDeadline() {
    for (int count = 0; count < 100; count++) {
      Retries retries = retries(Duration.ofSeconds(8), SECOND);
      assertEquals(Retries.NEVER, retries.waitNanos(refusal(901)));
      assertFalse(retries.isInTime(nanos(901)));
    }
    assertTrue(retries(Duration.ofSeconds(8), SECOND).isInTime(nanos(500)));
    assertTrue(retries(Duration.ofSeconds(8), SECOND).waitNanos(refusal(100)) >= nanos(100));
  }

  /** The time that is set for retries is used to its end. */
  @Test
  void withinTheTimeForRetries() {
    Duration minute = Duration.ofMinutes(1);
    assertTrue(retries(SECOND, minute).isInTime(nanos(950)));
    assertFalse(retries(SECOND, minute).isInTime(nanos(1_000)));
  }

  /** A token that is refused is renewed once, and again only after a success; a text never is. */
  @Test
  void renewals() {
    var refused = Statuses.toException(Status.UNAUTHENTICATED, null, "h:1");
    assertEquals(Retries.NEVER, retries(SECOND, SECOND).waitNanos(refused));
    Retries renewing =
        new Retries(new Retries.Budget(), SECOND, Retries.STREAM_DELAY_MAX, SECOND, true);
    assertTrue(renewing.waitNanos(refusal(1)) > 0);
    assertTrue(renewing.waitNanos(refused) > 0);
    assertEquals(Retries.NEVER, renewing.waitNanos(refused));
    renewing.succeeded();
    assertTrue(renewing.waitNanos(refused) > 0);
  }
}
