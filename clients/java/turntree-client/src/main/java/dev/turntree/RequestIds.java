package dev.turntree;

import com.google.protobuf.Message;
import java.security.SecureRandom;
import java.util.UUID;

/** Names for mutations: unique, and rising with time so that a database finds them side by side. */
final class RequestIds {
  private static final SecureRandom RANDOM = new SecureRandom();

  private RequestIds() {}

  /** The request, with a name if it is a mutation that has none. */
  @SuppressWarnings("unchecked")
  static <Q extends Message> Q named(Q request) {
    var field = request.getDescriptorForType().findFieldByName("request_id");
    if (field == null || !request.getField(field).equals("")) {
      return request;
    }
    return (Q) request.toBuilder().setField(field, next()).build();
  }

  /** A UUID of version 7: a time in milliseconds, then 74 random bits. */
  static String next() {
    long high = System.currentTimeMillis() << 16 | 0x7000 | RANDOM.nextInt(0x1000);
    long low = RANDOM.nextLong() >>> 2 | Long.MIN_VALUE;
    return new UUID(high, low).toString();
  }
}
