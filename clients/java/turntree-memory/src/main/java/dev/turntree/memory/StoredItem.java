package dev.turntree.memory;

import com.google.protobuf.ByteString;
import org.jspecify.annotations.Nullable;

/**
 * An item as the server has it: JSON in the Responses form, and beside it the native form in the
 * reader's dialect, if it has one.
 */
record StoredItem(ByteString item, @Nullable ByteString nativeForm) {
  long bytes() {
    return item.size() + (nativeForm == null ? 0 : nativeForm.size());
  }
}
