package turntree

import (
	"context"

	"turntree/turntreepb"
)

// AddItems appends items to a branch, in order, after all that is there.
func (c *Client) AddItems(
	ctx context.Context, request *turntreepb.AddItemsRequest,
) (*turntreepb.AddItemsResponse, error) {
	return c.sessions.AddItems(ctx, request)
}

// GetItems reads a branch, or what of it is new to the caller.
func (c *Client) GetItems(
	ctx context.Context, request *turntreepb.GetItemsRequest,
) (*turntreepb.GetItemsResponse, error) {
	return c.sessions.GetItems(ctx, request)
}

// PopItem removes the newest item of a branch and returns it.
func (c *Client) PopItem(
	ctx context.Context, request *turntreepb.PopItemRequest,
) (*turntreepb.PopItemResponse, error) {
	return c.sessions.PopItem(ctx, request)
}

// ReplaceItems replaces the newest items of a branch by others, if the branch is exactly what the caller believes it
// to be.
func (c *Client) ReplaceItems(
	ctx context.Context, request *turntreepb.ReplaceItemsRequest,
) (*turntreepb.ReplaceItemsResponse, error) {
	return c.sessions.ReplaceItems(ctx, request)
}

// ClearSession removes every item, branch and usage figure of a session; labels and expiry stay.
func (c *Client) ClearSession(
	ctx context.Context, request *turntreepb.ClearSessionRequest,
) (*turntreepb.ClearSessionResponse, error) {
	return c.sessions.ClearSession(ctx, request)
}

// GetSession describes one session.
func (c *Client) GetSession(
	ctx context.Context, request *turntreepb.GetSessionRequest,
) (*turntreepb.GetSessionResponse, error) {
	return c.sessions.GetSession(ctx, request)
}

// ListSessions lists sessions, the last active first, page by page.
func (c *Client) ListSessions(
	ctx context.Context, request *turntreepb.ListSessionsRequest,
) (*turntreepb.ListSessionsResponse, error) {
	return c.sessions.ListSessions(ctx, request)
}

// UpdateSession sets and removes labels of a session and its expiry, and creates the session if it does not exist.
func (c *Client) UpdateSession(
	ctx context.Context, request *turntreepb.UpdateSessionRequest,
) (*turntreepb.UpdateSessionResponse, error) {
	return c.sessions.UpdateSession(ctx, request)
}

// DeleteSession removes a session with all that belongs to it: items, branches and their reserved ids, usage, labels
// and expiry.
func (c *Client) DeleteSession(
	ctx context.Context, request *turntreepb.DeleteSessionRequest,
) (*turntreepb.DeleteSessionResponse, error) {
	return c.sessions.DeleteSession(ctx, request)
}

// CreateBranch forks a branch: the new one shows the source's items up to the chosen point, then goes its own way.
func (c *Client) CreateBranch(
	ctx context.Context, request *turntreepb.CreateBranchRequest,
) (*turntreepb.CreateBranchResponse, error) {
	return c.branches.CreateBranch(ctx, request)
}

// GetBranch describes one branch.
func (c *Client) GetBranch(
	ctx context.Context, request *turntreepb.GetBranchRequest,
) (*turntreepb.GetBranchResponse, error) {
	return c.branches.GetBranch(ctx, request)
}

// ListBranches lists the branches that hold items, the oldest first, page by page.
func (c *Client) ListBranches(
	ctx context.Context, request *turntreepb.ListBranchesRequest,
) (*turntreepb.ListBranchesResponse, error) {
	return c.branches.ListBranches(ctx, request)
}

// DeleteBranch removes a branch with its usage, and every item that no other branch shows. Its id stays reserved.
func (c *Client) DeleteBranch(
	ctx context.Context, request *turntreepb.DeleteBranchRequest,
) (*turntreepb.DeleteBranchResponse, error) {
	return c.branches.DeleteBranch(ctx, request)
}

// CompareBranches finds what two branches share and where they part.
func (c *Client) CompareBranches(
	ctx context.Context, request *turntreepb.CompareBranchesRequest,
) (*turntreepb.CompareBranchesResponse, error) {
	return c.branches.CompareBranches(ctx, request)
}

// ListTurns lists the turns of a branch by their user items, page by page; see [TurnRows]. A page also ends at about
// 1 MiB.
func (c *Client) ListTurns(
	ctx context.Context, request *turntreepb.ListTurnsRequest,
) (*turntreepb.ListTurnsResponse, error) {
	return c.turns.ListTurns(ctx, request)
}

// SearchTurns finds the turns whose user item contains a text, on one branch or on all, page by page; see [TurnRows].
func (c *Client) SearchTurns(
	ctx context.Context, request *turntreepb.SearchTurnsRequest,
) (*turntreepb.SearchTurnsResponse, error) {
	return c.turns.SearchTurns(ctx, request)
}

// GetConversationByTurns outlines a branch: for each turn the types and tools of its items, without their content,
// page by page; see [ItemMetadataRows].
func (c *Client) GetConversationByTurns(
	ctx context.Context, request *turntreepb.GetConversationByTurnsRequest,
) (*turntreepb.GetConversationByTurnsResponse, error) {
	return c.turns.GetConversationByTurns(ctx, request)
}

// ListToolUsage counts tool calls by turn and tool, page by page; see [ToolUsageRows].
func (c *Client) ListToolUsage(
	ctx context.Context, request *turntreepb.ListToolUsageRequest,
) (*turntreepb.ListToolUsageResponse, error) {
	return c.turns.ListToolUsage(ctx, request)
}

// RecordUsage records the usage of the branch's current turn, the one its last item belongs to.
func (c *Client) RecordUsage(
	ctx context.Context, request *turntreepb.RecordUsageRequest,
) (*turntreepb.RecordUsageResponse, error) {
	return c.usage.RecordUsage(ctx, request)
}

// GetSessionUsage adds up the usage of a session, or of one of its branches.
func (c *Client) GetSessionUsage(
	ctx context.Context, request *turntreepb.GetSessionUsageRequest,
) (*turntreepb.GetSessionUsageResponse, error) {
	return c.usage.GetSessionUsage(ctx, request)
}

// ListTurnUsage lists usage by turn, with its JSON details, page by page.
func (c *Client) ListTurnUsage(
	ctx context.Context, request *turntreepb.ListTurnUsageRequest,
) (*turntreepb.ListTurnUsageResponse, error) {
	return c.usage.ListTurnUsage(ctx, request)
}

// SummarizeUsage adds up usage over sessions, in groups, page by page.
func (c *Client) SummarizeUsage(
	ctx context.Context, request *turntreepb.SummarizeUsageRequest,
) (*turntreepb.SummarizeUsageResponse, error) {
	return c.usage.SummarizeUsage(ctx, request)
}
