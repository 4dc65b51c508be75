package dev.turntree.conformance;

import com.google.protobuf.ByteString;
import com.google.protobuf.Message;
import dev.turntree.TurntreeClient;
import dev.turntree.v1.AddItemsRequest;
import dev.turntree.v1.BranchPointer;
import dev.turntree.v1.DeltaKind;
import dev.turntree.v1.GetItemsRequest;
import dev.turntree.v1.ItemsDelta;
import java.util.ArrayList;
import java.util.List;
import java.util.UUID;

/**
 * A conversation with a history, and what is to be said in it. A turn reads what is new, the four
 * items of the turn before, and adds four; its echo is two calls with the bytes of both requests.
 */
final class BenchSession {
  private static final int HISTORY_TURNS = 25;

  private final TurntreeClient client;
  private final Echo echo;
  private final String id;
  private final List<List<ByteString>> turns;
  private final List<byte[]> echoes = new ArrayList<>();
  private BranchPointer branch = BranchPointer.newBuilder().setBranchId("main").build();
  private ByteString cursor = ByteString.EMPTY;
  private int next;

  BenchSession(TurntreeClient client, Echo echo, String id, List<List<ByteString>> turns) {
    this.client = client;
    this.echo = echo;
    this.id = id;
    this.turns = turns.subList(HISTORY_TURNS, turns.size());
    var history = turns.subList(0, HISTORY_TURNS).stream().flatMap(List::stream).toList();
    client.addItems(adding(history));
    if (read().getItemsCount() != history.size()) {
      throw new IllegalStateException("the history was not read");
    }
    for (List<ByteString> items : this.turns) {
      // The client gives a request id of this length.
      var add = adding(items).toBuilder().setRequestId(UUID.randomUUID().toString()).build();
      for (Message request : List.of(reading(), add)) {
        echoes.add(request.toByteArray());
      }
    }
  }

  void turn() {
    if (read().getKind() == DeltaKind.DELTA_KIND_REPLACED) {
      throw new IllegalStateException("more was read than is new");
    }
    branch = client.addItems(adding(turns.get(next % turns.size()))).getBranch();
    next++;
  }

  void echoTurn() {
    int first = 2 * (next % turns.size());
    echo.call(echoes.get(first));
    echo.call(echoes.get(first + 1));
    next++;
  }

  private ItemsDelta read() {
    ItemsDelta delta = client.getItems(reading()).getDelta();
    branch = delta.getBranch();
    cursor = delta.getCursor();
    return delta;
  }

  private GetItemsRequest reading() {
    var request = GetItemsRequest.newBuilder().setSessionId(id).setBranch(branch);
    return cursor.isEmpty() ? request.build() : request.setCursor(cursor).build();
  }

  private AddItemsRequest adding(List<ByteString> items) {
    return AddItemsRequest.newBuilder()
        .setSessionId(id)
        .setBranch(branch)
        .addAllItems(items)
        .build();
  }
}
