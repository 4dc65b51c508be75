package dev.turntree;

import java.util.function.Supplier;

/**
 * The credential of a client.
 *
 * @param isFresh whether it may be another one each time
 */
record Token(Supplier<String> source, boolean isFresh) {
  static Token text(String text) {
    return new Token(() -> text, false);
  }

  /** What is shown now. To ask for it may block. */
  String get() {
    return source.get();
  }
}
