// Package turntree is session memory for AI agents, served over gRPC: conversations that branch, with token usage by
// turn and structured queries.
//
// [Client] has one method for each call of the server; its messages are those of package turntreepb, whose comments say
// what each call does and what its fields mean. [Session] is a shorter way to talk in one conversation. Every failure is
// an [*Error].
package turntree
