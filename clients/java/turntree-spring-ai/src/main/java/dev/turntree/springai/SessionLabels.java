package dev.turntree.springai;

import com.google.protobuf.Timestamp;
import dev.turntree.v1.UpdateSessionRequest;
import java.time.Instant;
import java.util.HashMap;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.springframework.ai.session.Session;

/**
 * Spring AI's sessions as labels of turntree's: the user, the times, and one label for each entry
 * of the metadata, with its value as JSON.
 */
final class SessionLabels {
  static final String KIND = "spring-ai";
  static final String USER = "spring-ai.user";
  private static final String CREATED = "spring-ai.created";
  private static final String EXPIRES = "spring-ai.expires";
  private static final String METADATA_PREFIX = "spring-ai.metadata.";

  private SessionLabels() {}

  static Map<String, String> of(Session session) {
    Map<String, String> labels = new HashMap<>();
    labels.put(KIND, "session");
    labels.put(USER, session.userId());
    labels.put(CREATED, session.createdAt().toString());
    Instant expires = session.expiresAt();
    if (expires != null) {
      labels.put(EXPIRES, expires.toString());
    }
    MessageJson.trees(session.metadata())
        .forEach((key, value) -> labels.put(METADATA_PREFIX + key, value.toString()));
    return labels;
  }

  /** What makes turntree's session that of Spring AI; labels of others stay. */
  static UpdateSessionRequest update(Session session, Map<String, String> before) {
    Map<String, String> labels = of(session);
    var request = UpdateSessionRequest.newBuilder().setSessionId(session.id()).putAllLabels(labels);
    for (String key : before.keySet()) {
      if (key.startsWith(KIND) && !labels.containsKey(key)) {
        request.addRemoveLabels(key);
      }
    }
    Instant expires = session.expiresAt();
    if (expires == null) {
      return request.setNeverExpire(true).build();
    }
    var time = Timestamp.newBuilder().setSeconds(expires.getEpochSecond());
    return request.setExpireTime(time.setNanos(expires.getNano())).build();
  }

  /** Spring AI's session; null if it is another program's alone. */
  static @Nullable Session session(dev.turntree.v1.Session stored) {
    Map<String, String> labels = stored.getLabelsMap();
    String user = labels.get(USER);
    String created = labels.get(CREATED);
    if (user == null || created == null) {
      return null;
    }
    String expires = labels.get(EXPIRES);
    Map<String, Object> metadata = new HashMap<>();
    labels.forEach(
        (key, value) -> {
          if (key.startsWith(METADATA_PREFIX)) {
            metadata.put(
                key.substring(METADATA_PREFIX.length()),
                MessageJson.MAPPER.readValue(value, Object.class));
          }
        });
    var session = Session.builder().id(stored.getSessionId()).userId(user).metadata(metadata);
    return withExpiry(session.createdAt(Instant.parse(created)), expires).build();
  }

  /** Spring AI says null for what never expires. */
  @SuppressWarnings("NullAway")
  private static Session.Builder withExpiry(Session.Builder session, @Nullable String expires) {
    return session.expiresAt(expires == null ? null : Instant.parse(expires));
  }
}
