package turntree

import (
	"context"
	"iter"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// PagedRequest is a request whose answer comes in pages.
type PagedRequest interface {
	proto.Message
	GetPageToken() string
}

// Page is one page of an answer.
type Page interface {
	proto.Message
	GetNextPageToken() string
}

// Pages reads all pages of a list, each fetched when the one before was taken:
//
//	turntree.Pages(ctx, client.ListSessions, &turntreepb.ListSessionsRequest{})
//
// Each page is a call of its own, with its own deadline and retries. An error is the last thing that comes.
func Pages[Request PagedRequest, Response Page](
	ctx context.Context, list func(context.Context, Request) (Response, error), request Request,
) iter.Seq2[Response, error] {
	return func(yield func(Response, error) bool) {
		next := proto.CloneOf(request)
		token := next.ProtoReflect().Descriptor().Fields().ByName("page_token")
		for {
			page, err := list(ctx, next)
			if !yield(page, err) || err != nil || page.GetNextPageToken() == "" {
				return
			}
			next.ProtoReflect().Set(token, protoreflect.ValueOfString(page.GetNextPageToken()))
		}
	}
}
