package dev.turntree.memory;

import java.util.List;

/**
 * A framework's message.
 *
 * @param json canonical: messages are the same when it is the same
 */
record Message<M>(M own, String json) {
  static <M> Message<M> of(Dialect<M> dialect, M own) {
    return new Message<>(own, Json.canonical(dialect.json(own)));
  }

  static <M> List<Message<M>> all(Dialect<M> dialect, List<? extends M> messages) {
    return messages.stream().map((M own) -> of(dialect, own)).toList();
  }

  boolean isSame(Message<M> other) {
    return json.equals(other.json);
  }

  /**
   * Where each message of a later list stands in an earlier one: the index of the first that is the
   * same, after those that were found before it; -1 for what is new.
   */
  static <M> int[] find(List<Message<M>> later, List<Message<M>> earlier) {
    int[] found = new int[later.size()];
    int next = 0;
    for (int index = 0; index < found.length; index++) {
      int at = next;
      while (at < earlier.size() && !earlier.get(at).isSame(later.get(index))) {
        at++;
      }
      found[index] = at < earlier.size() ? at : -1;
      next = at < earlier.size() ? at + 1 : next;
    }
    return found;
  }
}
