package dev.turntree.memory;

import java.util.ArrayList;
import java.util.List;

/** Puts together what two wrote who started from the same list. */
final class Merge {
  private Merge() {}

  /**
   * The list that a writer wants, after somebody else was faster. What the other removed stays
   * removed, what the other wrote comes before what this writer adds.
   *
   * @param before the list that both started from
   * @param now what the other made of it
   * @param wanted what this writer makes of it
   */
  static <M> List<Message<M>> of(
      List<Message<M>> before, List<Message<M>> now, List<Message<M>> wanted) {
    int[] stillThere = Message.find(now, before);
    int known = lastFound(stillThere) + 1;
    int[] kept = Message.find(wanted, before);
    int own = lastFound(kept) + 1;

    List<Message<M>> merged = new ArrayList<>();
    for (int index = 0; index < own; index++) {
      if (kept[index] < 0 || contains(stillThere, kept[index])) {
        merged.add(wanted.get(index));
      }
    }
    merged.addAll(now.subList(known, now.size()));
    merged.addAll(wanted.subList(own, wanted.size()));
    return merged;
  }

  private static int lastFound(int[] found) {
    int last = found.length - 1;
    while (last >= 0 && found[last] < 0) {
      last--;
    }
    return last;
  }

  /** Whether an index is among those found, which grow. */
  private static boolean contains(int[] found, int index) {
    for (int one : found) {
      if (one == index) {
        return true;
      }
    }
    return false;
  }
}
