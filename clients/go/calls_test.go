package turntree_test

import (
	"context"
	"errors"
	"math"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"turntree"
	"turntree/turntreepb"
)

// Every call of SessionService does what its proto says.
func TestSessionService(t *testing.T) {
	_, client := serving(t)
	ctx := t.Context()
	added := must(client.AddItems(ctx, adding(user("one"), assistant("1"))))(t)
	equal(t, added.Turn, int64(1))
	read := must(client.GetItems(ctx, &turntreepb.GetItemsRequest{
		SessionId: sessionID, Cursor: added.PreviousCursor, IncludeMetadata: true,
	}))(t)
	equal(t, read.Delta.Items, [][]byte{user("one"), assistant("1")})
	equal(t, read.Delta.Metadata[1].Type, "assistant")
	must(client.ReplaceItems(ctx, &turntreepb.ReplaceItemsRequest{
		SessionId: sessionID, RemoveCount: 1, Items: [][]byte{assistant("I"), assistant("II")}, ExpectedCursor: read.Delta.Cursor,
	}))(t)
	popped := must(client.PopItem(ctx, &turntreepb.PopItemRequest{SessionId: sessionID}))(t)
	equal(t, popped.Item, assistant("II"))
	equal(t, allItems(t, client), [][]byte{user("one"), assistant("I")})

	labels := map[string]string{"team": "blue"}
	updated := must(client.UpdateSession(ctx, &turntreepb.UpdateSessionRequest{SessionId: sessionID, Labels: labels}))(t)
	equal(t, updated.Session.Labels, labels)
	described := must(client.GetSession(ctx, &turntreepb.GetSessionRequest{SessionId: sessionID}))(t)
	equal(t, described.Session.SessionId, sessionID)
	listed := must(client.ListSessions(ctx, &turntreepb.ListSessionsRequest{Labels: labels}))(t)
	equal(t, len(listed.Sessions), 1)
	cleared := must(client.ClearSession(ctx, &turntreepb.ClearSessionRequest{SessionId: sessionID}))(t)
	equal(t, cleared.Branch.GetGeneration(), int64(1))
	must(client.DeleteSession(ctx, &turntreepb.DeleteSessionRequest{SessionId: sessionID}))(t)
	_, err := client.GetSession(ctx, &turntreepb.GetSessionRequest{SessionId: sessionID})
	failed(t, err, codes.NotFound, turntree.ReasonSessionNotFound)
}

// Every call of BranchService does what its proto says.
func TestBranchService(t *testing.T) {
	_, client := serving(t)
	ctx := t.Context()
	must(client.AddItems(ctx, adding(user("one"), assistant("1"), user("two"))))(t)
	created := must(client.CreateBranch(ctx, &turntreepb.CreateBranchRequest{
		SessionId: sessionID, Origin: &turntreepb.CreateBranchRequest_AfterTurn{AfterTurn: 1}, NewBranchId: proto.String("other"),
	}))(t)
	equal(t, created.Branch.ItemCount, int64(2))
	branch := must(client.GetBranch(ctx, &turntreepb.GetBranchRequest{SessionId: sessionID, BranchId: "other"}))(t).Branch
	equal(t, []any{branch.GetSourceBranchId(), branch.GetForkTurn()}, []any{"main", int64(1)})
	listed := must(client.ListBranches(ctx, &turntreepb.ListBranchesRequest{SessionId: sessionID}))(t)
	equal(t, len(listed.Branches), 2)
	compared := must(client.CompareBranches(ctx, &turntreepb.CompareBranchesRequest{
		SessionId: sessionID, BranchId: "main", OtherBranchId: "other",
	}))(t)
	equal(t, []int64{compared.CommonItemCount, compared.Difference.ItemCount}, []int64{2, 1})
	deleted := must(client.DeleteBranch(ctx, &turntreepb.DeleteBranchRequest{SessionId: sessionID, BranchId: "other"}))(t)
	equal(t, []int64{deleted.ItemCount, deleted.OrphanCount}, []int64{2, 0})
}

// inPagesOfTwo reads a list of three, and must find two pages.
func inPagesOfTwo[Request turntree.PagedRequest, Response turntree.Page](
	t *testing.T, list func(context.Context, Request) (Response, error), request Request, count func(Response) int,
) {
	t.Helper()
	var counts []int
	for page, err := range turntree.Pages(t.Context(), list, request) {
		counts = append(counts, count(must(page, err)(t)))
	}
	equal(t, counts, []int{2, 1})
	equal(t, request.GetPageToken(), "")
}

// Every call of TurnService and UsageService does what its proto says, and every list comes in pages.
func TestTurnsUsageAndPages(t *testing.T) {
	_, client := serving(t)
	ctx := t.Context()
	call := []byte(`{"type": "function_call", "call_id": "c", "name": "weather", "arguments": "{}"}`)
	for turn := range int64(3) {
		must(client.AddItems(ctx, adding(user("question "+string(rune('1'+turn))), call)))(t)
		recorded := must(client.RecordUsage(ctx, &turntreepb.RecordUsageRequest{
			SessionId: sessionID, Usage: &turntreepb.Usage{Requests: 1, TotalTokens: 10 * (turn + 1)},
		}))(t)
		equal(t, recorded.Turn, turn+1)
	}
	total := must(client.GetSessionUsage(ctx, &turntreepb.GetSessionUsageRequest{SessionId: sessionID}))(t)
	equal(t, total.Total.TotalTokens, int64(60))
	for _, branch := range []string{"b", "c"} {
		must(client.CreateBranch(ctx, &turntreepb.CreateBranchRequest{
			SessionId: sessionID, Origin: &turntreepb.CreateBranchRequest_Head{Head: &turntreepb.Head{}}, NewBranchId: &branch,
		}))(t)
		other := client.Session(branch)
		must(other.AddItems(ctx, user("x")))(t)
		must(other.RecordUsage(ctx, &turntreepb.Usage{Requests: 1}))(t)
	}
	inPagesOfTwo(t, client.ListTurns, &turntreepb.ListTurnsRequest{SessionId: sessionID, PageSize: 2},
		func(page *turntreepb.ListTurnsResponse) int { return len(page.Turns.Turns) })
	inPagesOfTwo(t, client.SearchTurns, &turntreepb.SearchTurnsRequest{SessionId: sessionID, Content: "QUESTION", PageSize: 2},
		func(page *turntreepb.SearchTurnsResponse) int { return len(page.Turns.Turns) })
	inPagesOfTwo(t, client.ListToolUsage, &turntreepb.ListToolUsageRequest{SessionId: sessionID, PageSize: 2},
		func(page *turntreepb.ListToolUsageResponse) int { return len(page.Tools.Turns) })
	inPagesOfTwo(t, client.ListTurnUsage, &turntreepb.ListTurnUsageRequest{SessionId: sessionID, PageSize: 2},
		func(page *turntreepb.ListTurnUsageResponse) int { return len(page.Turns) })
	inPagesOfTwo(t, client.GetConversationByTurns, &turntreepb.GetConversationByTurnsRequest{SessionId: sessionID, PageSize: 4},
		func(page *turntreepb.GetConversationByTurnsResponse) int { return len(page.Items.Turns) / 2 })
	inPagesOfTwo(t, client.ListBranches, &turntreepb.ListBranchesRequest{SessionId: sessionID, PageSize: 2},
		func(page *turntreepb.ListBranchesResponse) int { return len(page.Branches) })
	inPagesOfTwo(t, client.ListSessions, &turntreepb.ListSessionsRequest{PageSize: 2},
		func(page *turntreepb.ListSessionsResponse) int { return len(page.Sessions) })
	inPagesOfTwo(t, client.SummarizeUsage,
		&turntreepb.SummarizeUsageRequest{Grouping: turntreepb.UsageGrouping_USAGE_GROUPING_SESSION, PageSize: 2},
		func(page *turntreepb.SummarizeUsageResponse) int { return len(page.Summaries) })
}

// An error has the server's code, reason, facts and message.
func TestTypedErrors(t *testing.T) {
	_, client := serving(t)
	ctx := t.Context()
	_, err := client.GetSession(ctx, &turntreepb.GetSessionRequest{SessionId: sessionID})
	equal(t, failed(t, err, codes.NotFound, turntree.ReasonSessionNotFound).Facts, map[string]string{"session_id": sessionID})
	_, err = client.AddItems(ctx, &turntreepb.AddItemsRequest{})
	equal(t, failed(t, err, codes.InvalidArgument, turntree.ReasonFieldRequired).Facts["field"], "session_id")
	_, err = client.AddItems(ctx, adding([]byte("no JSON")))
	equal(t, failed(t, err, codes.InvalidArgument, turntree.ReasonItemNotJSON).Facts["field"], "items[0]")
	first := must(client.AddItems(ctx, adding(user("a"))))(t)
	must(client.AddItems(ctx, adding(user("b"))))(t)
	stale := adding(user("c"))
	stale.ExpectedCursor = first.Cursor
	_, err = client.AddItems(ctx, stale)
	failed(t, err, codes.Aborted, turntree.ReasonCursorMismatch)
	for _, err := range turntree.Pages(ctx, client.ListTurns, &turntreepb.ListTurnsRequest{}) {
		failed(t, err, codes.InvalidArgument, turntree.ReasonFieldRequired)
	}
	for _, err := range client.StreamItems(ctx, &turntreepb.StreamItemsRequest{}) {
		failed(t, err, codes.InvalidArgument, turntree.ReasonFieldRequired)
	}
}

// A mutation with a request_id of the caller's has one effect, however often it is sent, and one without gets a name of
// its own each time, while the caller's message stays as it is.
func TestRequestIDs(t *testing.T) {
	_, client := serving(t)
	request := adding(user("once"))
	request.RequestId = "r1"
	first := must(client.AddItems(t.Context(), request))(t)
	again := must(client.AddItems(t.Context(), request))(t)
	equal(t, proto.Equal(first, again), true)
	request.Items = [][]byte{user("other")}
	_, err := client.AddItems(t.Context(), request)
	failed(t, err, codes.FailedPrecondition, turntree.ReasonRequestIDReused)
	unnamed := adding(user("twice"))
	must(client.AddItems(t.Context(), unnamed))(t)
	must(client.AddItems(t.Context(), unnamed))(t)
	equal(t, unnamed.RequestId, "")
	equal(t, len(allItems(t, client)), 3)
}

// Items come back byte for byte: numbers beyond 2^53, Unicode, escapes and white space; and counts of 64 bits too.
func TestByteForByte(t *testing.T) {
	_, client := serving(t)
	items := [][]byte{
		[]byte(`{"role":"user","content":"x","n":9007199254740993,"big":123456789012345678901234567890,"f":1.10}`),
		[]byte(`{ "role" : "user",  "content":"Zürich 東京 🏔️ e\u0301 \ud83d\ude00 \/" }`),
		[]byte("{\"role\":\"user\",\n\t\"content\":\"\u2028\\u0000\"}"),
	}
	must(client.AddItems(t.Context(), adding(items...)))(t)
	equal(t, allItems(t, client), items)
	usage := &turntreepb.Usage{TotalTokens: math.MaxInt64, InputTokens: 1<<53 + 1}
	must(client.Session(sessionID).RecordUsage(t.Context(), usage))(t)
	total := must(client.GetSessionUsage(t.Context(), &turntreepb.GetSessionUsageRequest{SessionId: sessionID}))(t).Total
	equal(t, []int64{total.TotalTokens, total.InputTokens}, []int64{math.MaxInt64, 1<<53 + 1})
}

// A call without an answer in time fails with DEADLINE_EXCEEDED, by the context's deadline or by the client's own.
func TestDeadline(t *testing.T) {
	silent := must(net.Listen("tcp", "127.0.0.1:0"))(t)
	defer func() { _ = silent.Close() }()
	client := connected(t, silent.Addr().String(), turntree.WithTimeout(short))
	hasty, cancel := context.WithTimeout(t.Context(), short)
	defer cancel()
	for _, ctx := range []context.Context{t.Context(), hasty} {
		_, err := client.GetSession(ctx, &turntreepb.GetSessionRequest{SessionId: sessionID})
		failed(t, err, codes.DeadlineExceeded, turntree.ReasonDeadlineExceeded)
		equal(t, errors.Is(err, context.DeadlineExceeded), true)
	}
}

// A call that is cancelled happens whole or not at all, fails as cancelled, and the connection serves on.
func TestCancel(t *testing.T) {
	_, client := serving(t)
	for round := range 20 {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Duration(round)*200*time.Microsecond, cancel)
		_, err := client.AddItems(ctx, adding(slices.Repeat([][]byte{user(string(rune('a' + round)))}, 50)...))
		if err != nil {
			equal(t, errors.Is(err, context.Canceled), true)
			failed(t, err, codes.Canceled, turntree.ReasonUnspecified)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for _, err := range client.Session(sessionID).Watch(ctx) {
		if err != nil {
			failed(t, err, codes.Canceled, turntree.ReasonUnspecified)
		}
		cancel()
	}
	must(client.AddItems(t.Context(), adding(user("last"))))(t)
	items := allItems(t, client)
	equal(t, len(items)%50, 1)
	for whole := range slices.Chunk(items[:len(items)-1], 50) {
		equal(t, whole, slices.Repeat(whole[:1], 50))
	}
}

// A session's handle stays on its branch, and goes back to main when somebody clears the session.
func TestSessionHandle(t *testing.T) {
	_, client := serving(t)
	ctx := t.Context()
	session := client.Session(sessionID)
	must(session.AddItems(ctx, user("one"), assistant("1")))(t)
	must(session.CreateBranch(ctx, turntree.BeforeContent("ONE"), "again"))(t)
	must(session.AddItems(ctx, user("anew")))(t)
	equal(t, must(session.Items(ctx))(t), [][]byte{user("anew")})
	equal(t, must(session.SwitchTo(ctx, turntree.Main))(t).ItemCount, int64(2))
	equal(t, must(session.PopItem(ctx))(t), assistant("1"))
	_, err := session.SwitchTo(ctx, "nowhere")
	equal(t, failed(t, err, codes.NotFound, turntree.ReasonBranchNotFound).Facts["branch_id"], "nowhere")
	equal(t, session.Branch().BranchId, turntree.Main)
	made := must(session.CreateBranch(ctx, turntree.AfterTurn(1), ""))(t)
	equal(t, session.Branch().BranchId, made.BranchId)
	equal(t, must(session.CreateBranch(ctx, turntree.AtHead(), "copy"))(t).ItemCount, int64(1))

	if err := client.Session(sessionID).Clear(ctx); err != nil {
		t.Fatal(err)
	}
	must(session.AddItems(ctx, user("fresh")))(t)
	equal(t, []any{session.Branch().BranchId, session.Branch().GetGeneration()}, []any{turntree.Main, int64(1)})
	equal(t, must(session.Items(ctx))(t), [][]byte{user("fresh")})
	if err := session.Clear(ctx); err != nil {
		t.Fatal(err)
	}
	equal(t, must(session.PopItem(ctx))(t) == nil, true)
	equal(t, session.Branch().GetGeneration(), int64(2))
}

// A native form comes back to a reader of its dialect and to nobody else, and a window to who asks for one.
func TestNativesAndWindows(t *testing.T) {
	_, client := serving(t)
	session := client.Session(sessionID)
	items := []turntree.Item{{JSON: user("a")}, {JSON: assistant("b"), Native: []byte(`{"own": 1}`)}}
	must(session.AddItemsWithNatives(t.Context(), "go-test", items...))(t)
	equal(t, must(session.ItemsWithNatives(t.Context(), "go-test"))(t), items)
	foreign := must(session.ItemsWithNatives(t.Context(), "other"))(t)
	equal(t, foreign[1], turntree.Item{JSON: assistant("b")})
	newest := must(session.ItemsInWindow(t.Context(), &turntreepb.ItemsWindow{Limit: proto.Int64(1)}))(t)
	equal(t, newest, [][]byte{assistant("b")})
}

// What a client is not made for is refused at once, with the field, the value and the limit.
func TestOptions(t *testing.T) {
	for _, options := range [][]turntree.Option{
		{turntree.WithTimeout(0)}, {turntree.WithRetryFor(-1)}, {turntree.WithToken("line\nbreak")}, {turntree.WithToken("")},
	} {
		_, err := turntree.New("localhost:1", options...)
		failure := failed(t, err, codes.InvalidArgument, turntree.ReasonFieldInvalid)
		equal(t, failure.Facts["field"] != "" && failure.Facts["limit"] != "", true)
		equal(t, strings.Contains(err.Error(), "break"), false)
	}
}
