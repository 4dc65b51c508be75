package dev.turntree.memory;

import com.google.gson.JsonObject;
import com.google.protobuf.ByteString;
import dev.turntree.memory.PlainMessage.Assistant;
import dev.turntree.memory.PlainMessage.Call;
import dev.turntree.memory.PlainMessage.Result;
import dev.turntree.memory.PlainMessage.Results;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * The messages that items stand for. A message with a native form is that form, verbatim; of the
 * others, calls that follow each other or an answer are one message with it. An item that is no
 * message, such as reasoning, makes none: it is hidden from the framework, not lost.
 */
final class Transcript<M> {
  private static final int COUNT_DIGITS_MAX = 9;

  private final Dialect<M> dialect;
  private final Map<String, String> toolNames;
  private final List<Entry<M>> entries = new ArrayList<>();
  private @Nullable PlainMessage open;
  private int openFrom;
  private int openTo;

  /**
   * One message.
   *
   * @param from the index of its first item
   * @param to the index after its last item
   */
  record Entry<M>(Message<M> message, int from, int to) {}

  private Transcript(Dialect<M> dialect, Map<String, String> toolNames) {
    this.dialect = dialect;
    this.toolNames = toolNames;
  }

  /** Reads items from the beginning of a conversation. */
  static <M> Transcript<M> of(Dialect<M> dialect, List<StoredItem> items) {
    return of(dialect, items, Map.of());
  }

  /** Reads items that follow calls, whose tools are known by the ids of the calls. */
  static <M> Transcript<M> of(
      Dialect<M> dialect, List<StoredItem> items, Map<String, String> toolNames) {
    Transcript<M> transcript = new Transcript<>(dialect, new HashMap<>(toolNames));
    int next = 0;
    while (next < items.size()) {
      next = transcript.read(items, next);
    }
    transcript.finish();
    return transcript;
  }

  List<Entry<M>> entries() {
    return entries;
  }

  List<Message<M>> messages() {
    return entries.stream().map(Entry::message).toList();
  }

  /** Which tool each call is of. */
  Map<String, String> toolNames() {
    return toolNames;
  }

  private int read(List<StoredItem> items, int from) {
    int to = nativeEnd(items, from);
    M message = to == from ? null : nativeMessage(items, from, to);
    if (message == null) {
      readPlain(items.get(from).item(), from);
      return from + 1;
    }
    finish();
    entries.add(new Entry<>(Message.of(dialect, message), from, to));
    for (StoredItem item : items.subList(from, to)) {
      JsonObject object = Json.object(item.item().toStringUtf8());
      remember(object == null ? null : Items.call(object));
    }
    return to;
  }

  /** The index after the last item that the native form here is of; the same index if none is. */
  private static int nativeEnd(List<StoredItem> items, int from) {
    ByteString form = items.get(from).nativeForm();
    if (form == null || count(form) > 0) {
      return from;
    }
    int to = from + 1;
    while (to < items.size() && count(items.get(to).nativeForm()) > to - from) {
      to++;
    }
    return to;
  }

  /** The message of a native form; null if it cannot be read or some of its items are gone. */
  private @Nullable M nativeMessage(List<StoredItem> items, int from, int to) {
    ByteString form = items.get(from).nativeForm();
    if (form == null) {
      return null;
    }
    try {
      M message = dialect.fromJson(form.toStringUtf8());
      int size =
          to - from > 1
              ? count(items.get(to - 1).nativeForm())
              : Items.of(dialect.plain(message)).size();
      return size == to - from ? message : null;
    } catch (RuntimeException unreadable) {
      return null;
    }
  }

  private static int count(@Nullable ByteString form) {
    String text = form == null || form.size() > COUNT_DIGITS_MAX ? "" : form.toStringUtf8();
    return text.matches("[0-9]+") ? Integer.parseInt(text) : 0;
  }

  private void readPlain(ByteString item, int at) {
    JsonObject object = Json.object(item.toStringUtf8());
    if (object == null) {
      return;
    }
    PlainMessage message = Items.message(object);
    Call call = Items.call(object);
    String answered = Items.answeredCall(object);
    String tool = answered == null ? null : toolNames.get(answered);
    if (message != null) {
      begin(message, at);
    } else if (call != null) {
      remember(call);
      extendOrBegin(new Assistant(null, List.of(call)), at);
    } else if (answered != null && tool != null) {
      extendOrBegin(new Results(List.of(new Result(answered, tool, Items.output(object)))), at);
    }
  }

  private void extendOrBegin(PlainMessage message, int at) {
    PlainMessage joined = joined(open, message);
    if (joined == null) {
      begin(message, at);
    } else {
      open = joined;
      openTo = at + 1;
    }
  }

  private @Nullable PlainMessage joined(@Nullable PlainMessage before, PlainMessage message) {
    if (before instanceof Assistant answer && message instanceof Assistant calls) {
      List<Call> all = new ArrayList<>(answer.calls());
      all.addAll(calls.calls());
      return new Assistant(answer.text(), all);
    }
    boolean joins = dialect.joinsResults();
    if (joins && before instanceof Results earlier && message instanceof Results later) {
      List<Result> all = new ArrayList<>(earlier.results());
      all.addAll(later.results());
      return new Results(all);
    }
    return null;
  }

  private void begin(PlainMessage message, int at) {
    finish();
    open = message;
    openFrom = at;
    openTo = at + 1;
  }

  private void finish() {
    PlainMessage whole = open;
    open = null;
    if (whole != null) {
      dialect
          .message(whole)
          .map(message -> new Entry<>(Message.of(dialect, message), openFrom, openTo))
          .ifPresent(entries::add);
    }
  }

  private void remember(@Nullable Call call) {
    if (call != null) {
      toolNames.put(call.callId(), call.name());
    }
  }
}
