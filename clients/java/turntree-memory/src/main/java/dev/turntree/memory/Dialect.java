package dev.turntree.memory;

import java.util.Optional;

/**
 * The messages of one framework, for {@link Conversations}: how they and plain messages stand for
 * each other, and what their own JSON is.
 *
 * @param <M> the framework's message
 */
public interface Dialect<M> {
  /** The name that native forms carry, at most 64 bytes: the framework's, and a version. */
  String name();

  /** Whether one message holds all results of the calls of a message, else each is its own. */
  boolean joinsResults();

  /** What a message says to those who do not know the framework. It need not say all of it. */
  PlainMessage plain(M message);

  /**
   * The message that stands for a plain one; empty when the framework has none. It throws nothing,
   * whatever other programs wrote.
   */
  Optional<M> message(PlainMessage plain);

  /** The whole message as a JSON text, the same for messages that are the same. */
  String json(M message);

  /**
   * The message of a JSON text.
   *
   * @throws RuntimeException if this version of the framework cannot read it
   */
  M fromJson(String json);
}
