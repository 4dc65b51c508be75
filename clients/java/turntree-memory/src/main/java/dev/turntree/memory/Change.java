package dev.turntree.memory;

import dev.turntree.memory.Transcript.Entry;
import java.util.ArrayList;
import java.util.List;

/**
 * What turns the items of a branch into those of another list of messages: the newest so many are
 * removed, others take their place.
 *
 * @param removed how many of the newest items go
 * @param added what takes their place
 * @param result all items, afterwards
 */
record Change(int removed, List<StoredItem> added, List<StoredItem> result) {
  boolean isNothing() {
    return removed == 0 && added.isEmpty();
  }

  /**
   * The change after the common prefix. A message that was there stays byte for byte what it was,
   * wherever the list has it now, and what is hidden before it goes with it.
   */
  static <M> Change to(Dialect<M> dialect, List<StoredItem> items, List<Message<M>> wanted) {
    Transcript<M> now = Transcript.of(dialect, items);
    List<Entry<M>> entries = now.entries();
    int common = 0;
    while (common < Math.min(entries.size(), wanted.size())
        && entries.get(common).message().isSame(wanted.get(common))) {
      common++;
    }
    boolean isAppended = common == entries.size();
    int stays = isAppended ? items.size() : end(entries, common - 1);
    List<StoredItem> staying = items.subList(0, stays);
    Draft<M> draft =
        new Draft<>(dialect, staying, isAppended ? now : Transcript.of(dialect, staying));
    List<Entry<M>> others = entries.subList(common, entries.size());
    List<Message<M>> more = wanted.subList(common, wanted.size());
    int[] found = Message.find(more, others.stream().map(Entry::message).toList());
    for (int index = 0; index < found.length; index++) {
      if (found[index] < 0) {
        draft.add(more.get(index));
      } else {
        int at = common + found[index];
        int from = end(entries, at - 1);
        int to = at + 1 == entries.size() ? items.size() : entries.get(at).to();
        draft.keep(more.get(index), items.subList(from, to), entries.get(at).from() - from);
      }
    }
    List<StoredItem> result = draft.items();
    List<StoredItem> added = new ArrayList<>(result.subList(stays, result.size()));
    return new Change(items.size() - stays, added, result);
  }

  private static <M> int end(List<Entry<M>> entries, int at) {
    return at < 0 ? 0 : entries.get(at).to();
  }
}
