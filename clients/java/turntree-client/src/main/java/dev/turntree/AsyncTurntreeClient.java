package dev.turntree;

import com.google.protobuf.Message;
import dev.turntree.v1.AddItemsRequest;
import dev.turntree.v1.AddItemsResponse;
import dev.turntree.v1.BranchServiceGrpc;
import dev.turntree.v1.ClearSessionRequest;
import dev.turntree.v1.ClearSessionResponse;
import dev.turntree.v1.CompareBranchesRequest;
import dev.turntree.v1.CompareBranchesResponse;
import dev.turntree.v1.CreateBranchRequest;
import dev.turntree.v1.CreateBranchResponse;
import dev.turntree.v1.DeleteBranchRequest;
import dev.turntree.v1.DeleteBranchResponse;
import dev.turntree.v1.DeleteSessionRequest;
import dev.turntree.v1.DeleteSessionResponse;
import dev.turntree.v1.GetBranchRequest;
import dev.turntree.v1.GetBranchResponse;
import dev.turntree.v1.GetConversationByTurnsRequest;
import dev.turntree.v1.GetConversationByTurnsResponse;
import dev.turntree.v1.GetItemsRequest;
import dev.turntree.v1.GetItemsResponse;
import dev.turntree.v1.GetSessionRequest;
import dev.turntree.v1.GetSessionResponse;
import dev.turntree.v1.GetSessionUsageRequest;
import dev.turntree.v1.GetSessionUsageResponse;
import dev.turntree.v1.ListBranchesRequest;
import dev.turntree.v1.ListBranchesResponse;
import dev.turntree.v1.ListSessionsRequest;
import dev.turntree.v1.ListSessionsResponse;
import dev.turntree.v1.ListToolUsageRequest;
import dev.turntree.v1.ListToolUsageResponse;
import dev.turntree.v1.ListTurnUsageRequest;
import dev.turntree.v1.ListTurnUsageResponse;
import dev.turntree.v1.ListTurnsRequest;
import dev.turntree.v1.ListTurnsResponse;
import dev.turntree.v1.PopItemRequest;
import dev.turntree.v1.PopItemResponse;
import dev.turntree.v1.RecordUsageRequest;
import dev.turntree.v1.RecordUsageResponse;
import dev.turntree.v1.ReplaceItemsRequest;
import dev.turntree.v1.ReplaceItemsResponse;
import dev.turntree.v1.SearchTurnsRequest;
import dev.turntree.v1.SearchTurnsResponse;
import dev.turntree.v1.SessionServiceGrpc;
import dev.turntree.v1.StreamItemsRequest;
import dev.turntree.v1.StreamItemsResponse;
import dev.turntree.v1.StreamTurnsRequest;
import dev.turntree.v1.StreamTurnsResponse;
import dev.turntree.v1.SummarizeUsageRequest;
import dev.turntree.v1.SummarizeUsageResponse;
import dev.turntree.v1.TurnServiceGrpc;
import dev.turntree.v1.UpdateSessionRequest;
import dev.turntree.v1.UpdateSessionResponse;
import dev.turntree.v1.UsageServiceGrpc;
import dev.turntree.v1.WatchRequest;
import dev.turntree.v1.WatchResponse;
import io.grpc.MethodDescriptor;
import java.time.Duration;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Executor;
import java.util.concurrent.Flow;

/**
 * The calls of turntree as futures and publishers. Every future fails with a {@link
 * TurntreeException}; to cancel one cancels its call, which then happens whole or not at all. Safe
 * for use by many threads.
 */
public final class AsyncTurntreeClient {
  private final Connection connection;
  private final Duration timeout;
  private final Duration retryFor;
  private final Executor completing;

  AsyncTurntreeClient(Connection connection, Duration timeout, Duration retryFor) {
    this(connection, timeout, retryFor, connection.workers);
  }

  private AsyncTurntreeClient(
      Connection connection, Duration timeout, Duration retryFor, Executor completing) {
    this.connection = connection;
    this.timeout = timeout;
    this.retryFor = retryFor;
    this.completing = completing;
  }

  AsyncTurntreeClient withTimeout(Duration other) {
    return new AsyncTurntreeClient(
        connection, TurntreeClientBuilder.checkedTimeout(other), retryFor, completing);
  }

  /** The same calls for threads that do nothing with the futures but wait for them. */
  AsyncTurntreeClient forWaiting() {
    return new AsyncTurntreeClient(connection, timeout, retryFor, connection.pipeline::wake);
  }

  Connection connection() {
    return connection;
  }

  private <Q extends Message, A> CompletableFuture<A> call(
      MethodDescriptor<Q, A> method, Q request) {
    return UnaryCall.start(connection, method, request, timeout, retryFor, completing);
  }

  /** Appends items to a branch, in order, after all that is there: all of them or none. */
  public CompletableFuture<AddItemsResponse> addItems(AddItemsRequest request) {
    return call(SessionServiceGrpc.getAddItemsMethod(), request);
  }

  /** Reads a branch, or what of it is new to the caller, in parts of about 1 MiB. */
  public CompletableFuture<GetItemsResponse> getItems(GetItemsRequest request) {
    return call(SessionServiceGrpc.getGetItemsMethod(), request);
  }

  /** Removes the newest item of a branch and returns it. */
  public CompletableFuture<PopItemResponse> popItem(PopItemRequest request) {
    return call(SessionServiceGrpc.getPopItemMethod(), request);
  }

  /** Replaces the newest items of a branch, if it is exactly what the caller believes it to be. */
  public CompletableFuture<ReplaceItemsResponse> replaceItems(ReplaceItemsRequest request) {
    return call(SessionServiceGrpc.getReplaceItemsMethod(), request);
  }

  /** Removes every item, branch and usage figure of a session; labels and expiry stay. */
  public CompletableFuture<ClearSessionResponse> clearSession(ClearSessionRequest request) {
    return call(SessionServiceGrpc.getClearSessionMethod(), request);
  }

  /** Describes one session. */
  public CompletableFuture<GetSessionResponse> getSession(GetSessionRequest request) {
    return call(SessionServiceGrpc.getGetSessionMethod(), request);
  }

  /** Lists sessions, the last active first: one page. */
  public CompletableFuture<ListSessionsResponse> listSessions(ListSessionsRequest request) {
    return call(SessionServiceGrpc.getListSessionsMethod(), request);
  }

  /** Sets and removes labels of a session and its expiry, and creates it if it does not exist. */
  public CompletableFuture<UpdateSessionResponse> updateSession(UpdateSessionRequest request) {
    return call(SessionServiceGrpc.getUpdateSessionMethod(), request);
  }

  /** Removes a session with all that belongs to it. */
  public CompletableFuture<DeleteSessionResponse> deleteSession(DeleteSessionRequest request) {
    return call(SessionServiceGrpc.getDeleteSessionMethod(), request);
  }

  /** Forks a branch: the new one shows the items up to a point, then goes its own way. */
  public CompletableFuture<CreateBranchResponse> createBranch(CreateBranchRequest request) {
    return call(BranchServiceGrpc.getCreateBranchMethod(), request);
  }

  /** Describes one branch. */
  public CompletableFuture<GetBranchResponse> getBranch(GetBranchRequest request) {
    return call(BranchServiceGrpc.getGetBranchMethod(), request);
  }

  /** Lists the branches that hold items, the oldest first: one page. */
  public CompletableFuture<ListBranchesResponse> listBranches(ListBranchesRequest request) {
    return call(BranchServiceGrpc.getListBranchesMethod(), request);
  }

  /** Removes a branch, and every item that no other branch shows. Its id stays reserved. */
  public CompletableFuture<DeleteBranchResponse> deleteBranch(DeleteBranchRequest request) {
    return call(BranchServiceGrpc.getDeleteBranchMethod(), request);
  }

  /** Finds what two branches share and where they part. */
  public CompletableFuture<CompareBranchesResponse> compareBranches(
      CompareBranchesRequest request) {
    return call(BranchServiceGrpc.getCompareBranchesMethod(), request);
  }

  /** Lists the turns of a branch by their user items: one page; see {@link Rows#ofTurns}. */
  public CompletableFuture<ListTurnsResponse> listTurns(ListTurnsRequest request) {
    return call(TurnServiceGrpc.getListTurnsMethod(), request);
  }

  /** Finds the turns whose user item contains a text: one page; see {@link Rows#ofTurns}. */
  public CompletableFuture<SearchTurnsResponse> searchTurns(SearchTurnsRequest request) {
    return call(TurnServiceGrpc.getSearchTurnsMethod(), request);
  }

  /** Outlines a branch by the types and tools of its items: one page; see {@link Rows#ofItems}. */
  public CompletableFuture<GetConversationByTurnsResponse> getConversationByTurns(
      GetConversationByTurnsRequest request) {
    return call(TurnServiceGrpc.getGetConversationByTurnsMethod(), request);
  }

  /** Counts tool calls by turn and tool: one page; see {@link Rows#ofTools}. */
  public CompletableFuture<ListToolUsageResponse> listToolUsage(ListToolUsageRequest request) {
    return call(TurnServiceGrpc.getListToolUsageMethod(), request);
  }

  /** Records the usage of a branch's current turn, the one its last item belongs to. */
  public CompletableFuture<RecordUsageResponse> recordUsage(RecordUsageRequest request) {
    return call(UsageServiceGrpc.getRecordUsageMethod(), request);
  }

  /** Adds up the usage of a session, or of one of its branches. */
  public CompletableFuture<GetSessionUsageResponse> getSessionUsage(
      GetSessionUsageRequest request) {
    return call(UsageServiceGrpc.getGetSessionUsageMethod(), request);
  }

  /** Lists usage by turn, with its JSON details: one page. */
  public CompletableFuture<ListTurnUsageResponse> listTurnUsage(ListTurnUsageRequest request) {
    return call(UsageServiceGrpc.getListTurnUsageMethod(), request);
  }

  /** Adds up usage over sessions, in groups: one page. */
  public CompletableFuture<SummarizeUsageResponse> summarizeUsage(SummarizeUsageRequest request) {
    return call(UsageServiceGrpc.getSummarizeUsageMethod(), request);
  }

  /**
   * Reads a branch of any length in parts of about 1 MiB, each with the cursor that resumes after
   * it.
   */
  public Flow.Publisher<StreamItemsResponse> streamItems(StreamItemsRequest request) {
    return new ResumingPublisher<>(
        connection,
        SessionServiceGrpc.getStreamItemsMethod(),
        () -> new StreamReader.Items(request),
        retryFor);
  }

  /**
   * Reads the turns of a branch with all their items, oldest first; after a cut nothing comes
   * twice.
   */
  public Flow.Publisher<StreamTurnsResponse> streamTurns(StreamTurnsRequest request) {
    return new ResumingPublisher<>(
        connection,
        TurnServiceGrpc.getStreamTurnsMethod(),
        () -> new StreamReader.Turns(request),
        retryFor);
  }

  /** Follows a branch: its state by cursor first, then every change, for ever. */
  public Flow.Publisher<WatchResponse> watch(WatchRequest request) {
    return new ResumingPublisher<>(
        connection,
        SessionServiceGrpc.getWatchMethod(),
        () -> new StreamReader.Watch(request),
        retryFor);
  }
}
