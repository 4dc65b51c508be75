package dev.turntree;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.protobuf.ByteString;
import dev.turntree.testing.Server;
import dev.turntree.v1.ErrorReason;
import dev.turntree.v1.GetConversationByTurnsRequest;
import dev.turntree.v1.ItemMetadataColumns;
import dev.turntree.v1.ListToolUsageRequest;
import dev.turntree.v1.ListTurnsRequest;
import dev.turntree.v1.SearchTurnsRequest;
import dev.turntree.v1.ToolUsageColumns;
import dev.turntree.v1.TurnColumns;
import io.grpc.Status;
import java.time.Duration;
import java.time.Instant;
import java.util.List;
import java.util.Optional;
import java.util.function.UnaryOperator;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.function.Executable;

@Timeout(60)
class RowsTest {
  private static final String WEATHER =
      "{\"role\": \"user\", \"content\": \"What is the weather?\"}";
  private static final String TIDE = "{\"role\": \"user\", \"content\": \"And the tide?\"}";

  private static Rows.TurnRow turn(long number, String branchId, String item) {
    return new Rows.TurnRow(number, branchId, ByteString.copyFromUtf8(item), Instant.EPOCH);
  }

  /** The turns of columns, which must be recent, without their times. */
  private static List<Rows.TurnRow> turns(TurnColumns columns) {
    return Rows.ofTurns(columns).stream()
        .map(
            row -> {
              assertRecent(row.createTime());
              return new Rows.TurnRow(row.turn(), row.branchId(), row.userItem(), Instant.EPOCH);
            })
        .toList();
  }

  private static void assertRecent(Instant written) {
    Duration age = Duration.between(written, Instant.now());
    assertTrue(age.abs().compareTo(Duration.ofHours(1)) < 0, written::toString);
  }

  private static void assertMalformed(Executable reading) {
    var error = assertThrows(TurntreeException.class, reading);
    assertEquals(Status.Code.INTERNAL, error.code());
    assertEquals(ErrorReason.ERROR_REASON_INTERNAL, error.reason());
  }

  /**
   * Turns, items and tools come from a server as rows: with the branch of each, and without a tool
   * where there is none.
   */
  @Test
  void server() {
    try (Server server = Server.start();
        TurntreeClient client = TurntreeClient.connect(server.address())) {
      var session = client.session("s");
      session.addItems(
          "{\"role\": \"assistant\", \"content\": \"Hello\"}",
          WEATHER,
          "{\"type\": \"function_call\", \"call_id\": \"1\", \"name\": \"weather\", \"arguments\": \"{}\"}",
          "{\"type\": \"function_call\", \"call_id\": \"2\", \"arguments\": \"{}\"}");
      session.branchAfter(1, "other");
      session.addItems(TIDE);

      var list = ListTurnsRequest.newBuilder().setSessionId("s").setBranch(session.branch());
      assertEquals(
          List.of(turn(1, "other", WEATHER), turn(2, "other", TIDE)),
          turns(client.listTurns(list.build()).getTurns()));
      var search = SearchTurnsRequest.newBuilder().setSessionId("s").setAllBranches(true).build();
      assertEquals(
          List.of(turn(1, "main", WEATHER), turn(1, "other", WEATHER), turn(2, "other", TIDE)),
          turns(client.searchTurns(search).getTurns()));
      var nobody = ListTurnsRequest.newBuilder().setSessionId("nobody").build();
      assertEquals(List.of(), turns(client.listTurns(nobody).getTurns()));

      var outline = GetConversationByTurnsRequest.newBuilder().setSessionId("s").build();
      var items = Rows.ofItems(client.getConversationByTurns(outline).getItems());
      items.forEach(row -> assertRecent(row.createTime()));
      assertEquals(
          List.of("assistant", "user", "function_call", "function_call"),
          items.stream().map(Rows.ItemMetadataRow::type).toList());
      assertEquals(
          List.of(Optional.empty(), Optional.empty(), Optional.of("weather"), Optional.empty()),
          items.stream().map(Rows.ItemMetadataRow::toolName).toList());
      assertEquals(
          List.of(0L, 1L, 1L, 1L), items.stream().map(Rows.ItemMetadataRow::turn).toList());

      var tools = ListToolUsageRequest.newBuilder().setSessionId("s").build();
      assertEquals(
          List.of(
              new Rows.ToolUsageRow(Optional.empty(), 1, 1),
              new Rows.ToolUsageRow(Optional.of("weather"), 1, 1)),
          Rows.ofTools(client.listToolUsage(tools).getTools()));
    }
  }

  /** Numbers are of 64 bits, times are seconds since 1970 in UTC, and no columns are no rows. */
  @Test
  void values() {
    var noon = Instant.parse("2024-02-29T12:00:00Z");
    var turns =
        TurnColumns.newBuilder()
            .addTurns(Long.MAX_VALUE)
            .addBranchIds("b")
            .addUserItems(ByteString.copyFromUtf8("{}"))
            .addCreateTimes(noon.getEpochSecond())
            .build();
    assertEquals(
        List.of(new Rows.TurnRow(Long.MAX_VALUE, "b", ByteString.copyFromUtf8("{}"), noon)),
        Rows.ofTurns(turns));
    var tools =
        ToolUsageColumns.newBuilder()
            .addToolIndexes(-1)
            .addCallCounts(Long.MAX_VALUE)
            .addTurns(7)
            .build();
    assertEquals(
        List.of(new Rows.ToolUsageRow(Optional.empty(), Long.MAX_VALUE, 7)), Rows.ofTools(tools));
    assertEquals(List.of(), Rows.ofTurns(TurnColumns.getDefaultInstance()));
    assertEquals(List.of(), Rows.ofItems(ItemMetadataColumns.getDefaultInstance()));
    assertEquals(List.of(), Rows.ofTools(ToolUsageColumns.getDefaultInstance()));
  }

  /** Turns whose columns do not agree are a typed error: too short, too long, or no time. */
  @Test
  void malformedTurns() {
    var whole =
        TurnColumns.newBuilder()
            .addAllTurns(List.of(1L, 2L))
            .addBranchIds("b")
            .addAllUserItems(List.of(ByteString.EMPTY, ByteString.EMPTY))
            .addAllCreateTimes(List.of(0L, 0L))
            .build();
    assertEquals(2, Rows.ofTurns(whole).size());
    List<UnaryOperator<TurnColumns.Builder>> changes =
        List.of(
            columns -> columns.clearTurns(),
            columns -> columns.clearBranchIds(),
            columns -> columns.addAllBranchIds(List.of("b", "b")),
            columns -> columns.clearUserItems(),
            columns -> columns.addUserItems(ByteString.EMPTY),
            columns -> columns.clearCreateTimes(),
            columns -> columns.addCreateTimes(0),
            columns -> columns.setCreateTimes(1, Long.MAX_VALUE));
    for (var change : changes) {
      assertMalformed(() -> Rows.ofTurns(change.apply(whole.toBuilder()).build()));
    }
  }

  /** So are items and tools, also with positions of names that there are not. */
  @Test
  void malformedItemsAndTools() {
    var items =
        ItemMetadataColumns.newBuilder()
            .addTypes("user")
            .addAllTypeIndexes(List.of(0, 0))
            .addToolNames("tool")
            .addAllToolIndexes(List.of(0, -1))
            .addAllTurns(List.of(1L, 2L))
            .addAllCreateTimes(List.of(0L, 0L))
            .build();
    assertEquals(2, Rows.ofItems(items).size());
    List<UnaryOperator<ItemMetadataColumns.Builder>> itemChanges =
        List.of(
            columns -> columns.clearTurns(),
            columns -> columns.clearTypes(),
            columns -> columns.clearTypeIndexes(),
            columns -> columns.setTypeIndexes(0, -1),
            columns -> columns.addToolIndexes(0),
            columns -> columns.setToolIndexes(0, 1),
            columns -> columns.setToolIndexes(0, -2),
            columns -> columns.addCreateTimes(0));
    for (var change : itemChanges) {
      assertMalformed(() -> Rows.ofItems(change.apply(items.toBuilder()).build()));
    }
    var tools =
        ToolUsageColumns.newBuilder()
            .addToolNames("tool")
            .addAllToolIndexes(List.of(0, -1))
            .addAllCallCounts(List.of(1L, 1L))
            .addAllTurns(List.of(1L, 2L))
            .build();
    assertEquals(2, Rows.ofTools(tools).size());
    List<UnaryOperator<ToolUsageColumns.Builder>> toolChanges =
        List.of(
            columns -> columns.clearTurns(),
            columns -> columns.clearToolNames(),
            columns -> columns.clearToolIndexes(),
            columns -> columns.setToolIndexes(1, 1),
            columns -> columns.setToolIndexes(1, -2),
            columns -> columns.addCallCounts(1));
    for (var change : toolChanges) {
      assertMalformed(() -> Rows.ofTools(change.apply(tools.toBuilder()).build()));
    }
  }
}
