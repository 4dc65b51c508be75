package dev.turntree;

import com.google.protobuf.ByteString;
import dev.turntree.v1.ErrorReason;
import dev.turntree.v1.ItemMetadataColumns;
import dev.turntree.v1.ToolUsageColumns;
import dev.turntree.v1.TurnColumns;
import io.grpc.Status;
import java.time.DateTimeException;
import java.time.Instant;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.IntFunction;
import java.util.stream.IntStream;

/**
 * Rows of the columns in which turns, outlines and tool usage travel. Columns that do not agree are
 * a {@link TurntreeException} with INTERNAL and {@code ERROR_REASON_INTERNAL}.
 */
public final class Rows {
  private static final int NONE = -1;

  private Rows() {}

  /**
   * A turn by its user item.
   *
   * @param turn its number on its branch
   * @param branchId the branch it was read from
   * @param userItem the JSON text of its user item
   * @param createTime when its user item was written to the branch, to the second
   */
  public record TurnRow(long turn, String branchId, ByteString userItem, Instant createTime) {}

  /**
   * What the server derived from an item.
   *
   * @param type {@code user} or {@code assistant} for messages of these roles, else the item's own
   *     type, else {@code other}
   * @param toolName the tool that the item calls or answers, if it does
   * @param turn its turn; 0 before the first user item
   * @param createTime when it was written to the branch, to the second
   */
  public record ItemMetadataRow(
      String type, Optional<String> toolName, long turn, Instant createTime) {}

  /**
   * How often a tool was called in a turn.
   *
   * @param toolName the tool; empty for calls that name none
   * @param callCount the number of calls
   * @param turn the turn
   */
  public record ToolUsageRow(Optional<String> toolName, long callCount, long turn) {}

  /** The turns of a page of {@code listTurns} or {@code searchTurns}, row by row. */
  public static List<TurnRow> ofTurns(TurnColumns columns) {
    int count = columns.getTurnsCount();
    boolean isOneBranch = columns.getBranchIdsCount() == 1;
    agree(count, "branch_ids", isOneBranch ? count : columns.getBranchIdsCount());
    agree(count, "user_items", columns.getUserItemsCount());
    agree(count, "create_times", columns.getCreateTimesCount());
    return rows(
        count,
        position ->
            new TurnRow(
                columns.getTurns(position),
                columns.getBranchIds(isOneBranch ? 0 : position),
                columns.getUserItems(position),
                time(columns.getCreateTimes(position))));
  }

  /** The items of a page of {@code getConversationByTurns}, row by row. */
  public static List<ItemMetadataRow> ofItems(ItemMetadataColumns columns) {
    int count = columns.getTurnsCount();
    agree(count, "type_indexes", columns.getTypeIndexesCount());
    agree(count, "tool_indexes", columns.getToolIndexesCount());
    agree(count, "create_times", columns.getCreateTimesCount());
    return rows(
        count,
        position ->
            new ItemMetadataRow(
                name("types", columns.getTypesList(), columns.getTypeIndexes(position)),
                tool(columns.getToolNamesList(), columns.getToolIndexes(position)),
                columns.getTurns(position),
                time(columns.getCreateTimes(position))));
  }

  /** The counts of a page of {@code listToolUsage}, row by row. */
  public static List<ToolUsageRow> ofTools(ToolUsageColumns columns) {
    int count = columns.getTurnsCount();
    agree(count, "tool_indexes", columns.getToolIndexesCount());
    agree(count, "call_counts", columns.getCallCountsCount());
    return rows(
        count,
        position ->
            new ToolUsageRow(
                tool(columns.getToolNamesList(), columns.getToolIndexes(position)),
                columns.getCallCounts(position),
                columns.getTurns(position)));
  }

  private static <R> List<R> rows(int count, IntFunction<R> row) {
    return IntStream.range(0, count).mapToObj(row).toList();
  }

  /** Fails when a column has not one value for each of the turns. */
  private static void agree(int count, String column, int length) {
    if (length != count) {
      throw malformed("turns has " + count + " values and " + column + " has " + length);
    }
  }

  private static String name(String column, List<String> names, int index) {
    if (index < 0 || index >= names.size()) {
      throw malformed(column + " has " + names.size() + " values and none at " + index);
    }
    return names.get(index);
  }

  private static Optional<String> tool(List<String> names, int index) {
    return index == NONE ? Optional.empty() : Optional.of(name("tool_names", names, index));
  }

  private static Instant time(long seconds) {
    try {
      return Instant.ofEpochSecond(seconds);
    } catch (DateTimeException beyondAllTimes) {
      throw malformed("create_times has " + seconds + ", which is no time");
    }
  }

  private static TurntreeException malformed(String why) {
    return new TurntreeException(
        Status.Code.INTERNAL,
        ErrorReason.ERROR_REASON_INTERNAL,
        "the columns do not agree: " + why,
        Map.of(),
        null,
        null);
  }
}
