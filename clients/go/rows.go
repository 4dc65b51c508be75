package turntree

import (
	"fmt"
	"slices"
	"time"

	"google.golang.org/grpc/codes"

	"turntree/turntreepb"
)

// TurnRow is a turn by its user item.
type TurnRow struct {
	// Turn is its number on its branch.
	Turn int64
	// BranchID is the branch it was read from.
	BranchID string
	// UserItem is the JSON text of its user item.
	UserItem []byte
	// CreateTime is when its user item was written to the branch, to the second.
	CreateTime time.Time
}

// ItemMetadataRow is what the server derived from an item.
type ItemMetadataRow struct {
	// Type is user or assistant for messages of these roles, else the item's own type, else other.
	Type string
	// ToolName is the tool that the item calls or answers; nil for an item without one.
	ToolName *string
	// Turn is the turn of the item; 0 before the first user item.
	Turn int64
	// CreateTime is when the item was written to the branch, to the second.
	CreateTime time.Time
}

// ToolUsageRow is how often a tool was called in a turn.
type ToolUsageRow struct {
	// ToolName is the tool; nil for calls that name none.
	ToolName *string
	// CallCount is the number of calls.
	CallCount int64
	// Turn is the turn.
	Turn int64
}

// TurnRows gives the turns of a page of [Client.ListTurns] or [Client.SearchTurns], row by row.
//
// It fails with Internal and ReasonInternal when the columns do not agree.
func TurnRows(columns *turntreepb.TurnColumns) ([]TurnRow, error) {
	count := len(columns.GetTurns())
	branchIDs := columns.GetBranchIds()
	if len(branchIDs) == 1 { // the same for all
		branchIDs = slices.Repeat(branchIDs, count)
	}
	err := agree(count, column{"branch_ids", len(branchIDs)}, column{"user_items", len(columns.GetUserItems())},
		column{"create_times", len(columns.GetCreateTimes())})
	if err != nil {
		return nil, err
	}
	rows := make([]TurnRow, count)
	for position := range rows {
		rows[position] = TurnRow{
			Turn:       columns.Turns[position],
			BranchID:   branchIDs[position],
			UserItem:   columns.UserItems[position],
			CreateTime: fromSeconds(columns.CreateTimes[position]),
		}
	}
	return rows, nil
}

// ItemMetadataRows gives the items of a page of [Client.GetConversationByTurns], row by row.
//
// It fails with Internal and ReasonInternal when the columns do not agree.
func ItemMetadataRows(columns *turntreepb.ItemMetadataColumns) ([]ItemMetadataRow, error) {
	count := len(columns.GetTurns())
	err := agree(count, column{"type_indexes", len(columns.GetTypeIndexes())},
		column{"tool_indexes", len(columns.GetToolIndexes())}, column{"create_times", len(columns.GetCreateTimes())})
	if err != nil {
		return nil, err
	}
	rows := make([]ItemMetadataRow, count)
	for position := range rows {
		itemType, err := nameAt("types", columns.Types, columns.TypeIndexes[position])
		if err != nil {
			return nil, err
		}
		toolName, err := toolAt(columns.ToolNames, columns.ToolIndexes[position])
		if err != nil {
			return nil, err
		}
		rows[position] = ItemMetadataRow{
			Type:       *itemType,
			ToolName:   toolName,
			Turn:       columns.Turns[position],
			CreateTime: fromSeconds(columns.CreateTimes[position]),
		}
	}
	return rows, nil
}

// ToolUsageRows gives the counts of a page of [Client.ListToolUsage], row by row.
//
// It fails with Internal and ReasonInternal when the columns do not agree.
func ToolUsageRows(columns *turntreepb.ToolUsageColumns) ([]ToolUsageRow, error) {
	count := len(columns.GetTurns())
	err := agree(count, column{"tool_indexes", len(columns.GetToolIndexes())},
		column{"call_counts", len(columns.GetCallCounts())})
	if err != nil {
		return nil, err
	}
	rows := make([]ToolUsageRow, count)
	for position := range rows {
		toolName, err := toolAt(columns.ToolNames, columns.ToolIndexes[position])
		if err != nil {
			return nil, err
		}
		rows[position] = ToolUsageRow{
			ToolName: toolName, CallCount: columns.CallCounts[position], Turn: columns.Turns[position],
		}
	}
	return rows, nil
}

type column struct {
	name   string
	length int
}

// agree fails when a column has not one value for each of the turns.
func agree(count int, columns ...column) error {
	for _, column := range columns {
		if column.length != count {
			return malformed("turns has %d values and %s has %d", count, column.name, column.length)
		}
	}
	return nil
}

func nameAt(column string, names []string, index int32) (*string, error) {
	if index < 0 || int(index) >= len(names) {
		return nil, malformed("%s has %d values and none at %d", column, len(names), index)
	}
	return &names[index], nil
}

// toolAt is the name at an index; nil at -1, which stands for none.
func toolAt(names []string, index int32) (*string, error) {
	if index == -1 {
		return nil, nil
	}
	return nameAt("tool_names", names, index)
}

func fromSeconds(seconds int64) time.Time {
	return time.Unix(seconds, 0).UTC()
}

// malformed is the error of columns that do not agree.
func malformed(format string, values ...any) error {
	message := "the columns do not agree: " + fmt.Sprintf(format, values...)
	return &Error{Code: codes.Internal, Reason: ReasonInternal, Message: message}
}
