package dev.turntree;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;

import com.google.protobuf.ByteString;
import dev.turntree.v1.BranchPointer;
import dev.turntree.v1.DeltaKind;
import dev.turntree.v1.ItemsDelta;
import dev.turntree.v1.WatchRequest;
import dev.turntree.v1.WatchResponse;
import org.junit.jupiter.api.Test;

class StreamReaderTest {
  /** A watch that goes on leaves out that nothing is new; one that begins says so after any try. */
  @Test
  void nothingNew() {
    var branch = BranchPointer.newBuilder().setBranchId("main").setGeneration(1);
    var cursor = ByteString.copyFromUtf8("c");
    var delta = ItemsDelta.newBuilder().setKind(DeltaKind.DELTA_KIND_UNCHANGED);
    delta.setBranch(branch).setCursor(cursor);
    var unchanged = WatchResponse.newBuilder().setDelta(delta).build();
    var from = WatchRequest.newBuilder().setBranch(branch).setCursor(cursor).build();
    var watching = new StreamReader.Watch(from);
    watching.resume();
    assertEquals(unchanged, watching.take(unchanged).response());
    watching.resume();
    assertNull(watching.take(unchanged).response());
  }
}
