package dev.turntree.memory;

import java.util.List;
import org.jspecify.annotations.Nullable;

/** What a message says in the Responses form, without the habits of any framework. */
public sealed interface PlainMessage {
  /**
   * What the model is to do.
   *
   * @param role {@code system} or {@code developer}
   */
  record Instructions(String role, String text) implements PlainMessage {}

  /** What a user says and shows. */
  record User(List<Part> parts) implements PlainMessage {
    /** A copy of the list is kept. */
    public User {
      parts = List.copyOf(parts);
    }
  }

  /**
   * What the model says and calls.
   *
   * @param text null if it only calls
   */
  record Assistant(@Nullable String text, List<Call> calls) implements PlainMessage {
    /** A copy of the list is kept. */
    public Assistant {
      calls = List.copyOf(calls);
    }
  }

  /** What tools answered; at least one result. */
  record Results(List<Result> results) implements PlainMessage {
    /** A copy of the list is kept. */
    public Results {
      results = List.copyOf(results);
    }
  }

  /**
   * A call of a tool.
   *
   * @param arguments a JSON text, as the model wrote it
   */
  record Call(String callId, String name, String arguments) {}

  /**
   * What a tool answered.
   *
   * @param toolName as the call names it
   */
  record Result(String callId, String toolName, List<Part> output) {
    /** A copy of the list is kept. */
    public Result {
      output = List.copyOf(output);
    }
  }

  /** A piece of what a user or a tool says. */
  sealed interface Part {}

  /** A text. */
  record Text(String text) implements Part {}

  /**
   * An image.
   *
   * @param url where it is, or all of it as {@code data:…;base64,…}
   * @param detail {@code low}, {@code high} or {@code auto}
   */
  record Image(String url, String detail) implements Part {}

  /**
   * A file.
   *
   * @param name null if it has none
   * @param url where it is, or all of it as {@code data:…;base64,…}
   */
  record File(@Nullable String name, String url) implements Part {}

  /**
   * A sound.
   *
   * @param format {@code mp3} or {@code wav}
   * @param data in base64
   */
  record Audio(String format, String data) implements Part {}
}
