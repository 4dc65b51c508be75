package turntree_test

import (
	"math"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"turntree"
	"turntree/turntreepb"
)

// Turns, items and tools come from a server as rows: with the branch of each, and without a tool where there is none.
func TestRowsOfAServer(t *testing.T) {
	_, client := serving(t)
	ctx := t.Context()
	session := client.Session(sessionID)
	begin := time.Now().Add(-time.Hour)
	isRecent := func(written time.Time) bool { return written.After(begin) && written.Before(begin.Add(2*time.Hour)) }
	must(session.AddItems(ctx,
		assistant("Hello"),
		user("What is the weather?"),
		[]byte(`{"type": "function_call", "call_id": "1", "name": "weather", "arguments": "{}"}`),
		[]byte(`{"type": "function_call", "call_id": "2", "arguments": "{}"}`),
	))(t)
	must(session.CreateBranch(ctx, turntree.AfterTurn(1), "other"))(t)
	must(session.AddItems(ctx, user("And the tide?")))(t)

	search := &turntreepb.SearchTurnsRequest{SessionId: sessionID, AllBranches: true}
	list := &turntreepb.ListTurnsRequest{SessionId: sessionID, Branch: session.Branch()}
	type turn struct {
		number         int64
		branchID, item string
	}
	first, second := string(user("What is the weather?")), string(user("And the tide?"))
	for _, page := range []struct {
		columns  *turntreepb.TurnColumns
		expected []turn
	}{
		{must(client.ListTurns(ctx, list))(t).Turns, []turn{{1, "other", first}, {2, "other", second}}},
		{must(client.SearchTurns(ctx, search))(t).Turns, []turn{{1, "main", first}, {1, "other", first}, {2, "other", second}}},
		{must(client.ListTurns(ctx, &turntreepb.ListTurnsRequest{SessionId: "nobody"}))(t).Turns, nil},
	} {
		var turns []turn
		for _, row := range must(turntree.TurnRows(page.columns))(t) {
			equal(t, isRecent(row.CreateTime), true)
			turns = append(turns, turn{row.Turn, row.BranchID, string(row.UserItem)})
		}
		equal(t, turns, page.expected)
	}

	weather := "weather"
	outlined := must(client.GetConversationByTurns(ctx, &turntreepb.GetConversationByTurnsRequest{SessionId: sessionID}))(t)
	items := must(turntree.ItemMetadataRows(outlined.Items))(t)
	for index := range items {
		equal(t, isRecent(items[index].CreateTime), true)
		items[index].CreateTime = time.Time{}
	}
	equal(t, items, []turntree.ItemMetadataRow{
		{Type: "assistant"},
		{Type: "user", Turn: 1},
		{Type: "function_call", ToolName: &weather, Turn: 1},
		{Type: "function_call", Turn: 1},
	})
	used := must(client.ListToolUsage(ctx, &turntreepb.ListToolUsageRequest{SessionId: sessionID}))(t)
	tools := must(turntree.ToolUsageRows(used.Tools))(t)
	equal(t, tools, []turntree.ToolUsageRow{{CallCount: 1, Turn: 1}, {ToolName: &weather, CallCount: 1, Turn: 1}})
}

// Numbers are of 64 bits, times are seconds since 1970 in UTC, and no columns are no rows.
func TestRows(t *testing.T) {
	noon := time.Date(2024, 2, 29, 12, 0, 0, 0, time.UTC)
	turns := &turntreepb.TurnColumns{
		Turns: []int64{math.MaxInt64}, BranchIds: []string{"b"}, UserItems: [][]byte{[]byte("{}")}, CreateTimes: []int64{noon.Unix()},
	}
	equal(t, must(turntree.TurnRows(turns))(t), []turntree.TurnRow{{math.MaxInt64, "b", []byte("{}"), noon}})
	tools := &turntreepb.ToolUsageColumns{ToolIndexes: []int32{-1}, CallCounts: []int64{math.MaxInt64}, Turns: []int64{7}}
	equal(t, must(turntree.ToolUsageRows(tools))(t), []turntree.ToolUsageRow{{nil, math.MaxInt64, 7}})
	equal(t, len(must(turntree.TurnRows(nil))(t)), 0)
	equal(t, len(must(turntree.ItemMetadataRows(nil))(t)), 0)
	equal(t, len(must(turntree.ToolUsageRows(nil))(t)), 0)
}

// Columns that do not agree are a typed error: too short or too long, and positions of names that there are not.
func TestRowsThatDoNotAgree(t *testing.T) {
	type turnColumns = turntreepb.TurnColumns
	type itemColumns = turntreepb.ItemMetadataColumns
	type toolColumns = turntreepb.ToolUsageColumns
	for _, change := range []func(*turnColumns, *itemColumns, *toolColumns){
		func(turns *turnColumns, items *itemColumns, tools *toolColumns) {
			turns.Turns, items.Turns, tools.Turns = nil, nil, nil
		},
		func(turns *turnColumns, items *itemColumns, tools *toolColumns) {
			turns.BranchIds, items.TypeIndexes, tools.CallCounts = nil, nil, nil
		},
		func(turns *turnColumns, items *itemColumns, tools *toolColumns) {
			turns.BranchIds = slices.Repeat([]string{"b"}, 3)
			items.ToolIndexes, tools.ToolIndexes = make([]int32, 3), make([]int32, 3)
		},
		func(turns *turnColumns, items *itemColumns, tools *toolColumns) {
			turns.CreateTimes, items.CreateTimes, tools.CallCounts = make([]int64, 3), make([]int64, 3), make([]int64, 3)
		},
		func(turns *turnColumns, items *itemColumns, tools *toolColumns) {
			turns.UserItems, items.ToolIndexes[1], tools.ToolIndexes[1] = turns.UserItems[1:], 1, 1
		},
		func(turns *turnColumns, items *itemColumns, tools *toolColumns) {
			turns.CreateTimes, items.TypeIndexes[0], tools.ToolIndexes[0] = nil, -1, -2
		},
	} {
		turns := &turnColumns{
			Turns: []int64{1, 2}, BranchIds: []string{"b"}, UserItems: make([][]byte, 2), CreateTimes: make([]int64, 2),
		}
		items := &itemColumns{
			Types: []string{"user"}, TypeIndexes: make([]int32, 2), ToolNames: []string{"tool"}, ToolIndexes: make([]int32, 2),
			Turns: []int64{1, 2}, CreateTimes: make([]int64, 2),
		}
		tools := &toolColumns{
			ToolNames: []string{"tool"}, ToolIndexes: make([]int32, 2), CallCounts: make([]int64, 2), Turns: []int64{1, 2},
		}
		equal(t, len(must(turntree.TurnRows(turns))(t)), 2)
		equal(t, len(must(turntree.ItemMetadataRows(items))(t)), 2)
		equal(t, len(must(turntree.ToolUsageRows(tools))(t)), 2)
		change(turns, items, tools)
		_, err := turntree.TurnRows(turns)
		failed(t, err, codes.Internal, turntree.ReasonInternal)
		_, err = turntree.ItemMetadataRows(items)
		failed(t, err, codes.Internal, turntree.ReasonInternal)
		_, err = turntree.ToolUsageRows(tools)
		failed(t, err, codes.Internal, turntree.ReasonInternal)
	}
}
