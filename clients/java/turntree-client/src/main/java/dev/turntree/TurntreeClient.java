package dev.turntree;

import com.google.protobuf.Message;
import dev.turntree.v1.AddItemsRequest;
import dev.turntree.v1.AddItemsResponse;
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
import dev.turntree.v1.StreamItemsRequest;
import dev.turntree.v1.StreamItemsResponse;
import dev.turntree.v1.StreamTurnsRequest;
import dev.turntree.v1.StreamTurnsResponse;
import dev.turntree.v1.SummarizeUsageRequest;
import dev.turntree.v1.SummarizeUsageResponse;
import dev.turntree.v1.UpdateSessionRequest;
import dev.turntree.v1.UpdateSessionResponse;
import dev.turntree.v1.WatchRequest;
import dev.turntree.v1.WatchResponse;
import java.time.Duration;
import java.util.concurrent.CompletableFuture;
import java.util.function.Function;

/**
 * A client of a turntree server: one method for each call, which waits for the answer. Safe for use
 * by many threads.
 *
 * <p>Calls that find no server are tried again, and a mutation without a {@code request_id} gets
 * one, so that a repeat has no second effect. Every method fails with a {@link TurntreeException};
 * a thread that is interrupted cancels its call and gets a {@link
 * java.util.concurrent.CancellationException}.
 */
public final class TurntreeClient implements AutoCloseable {
  private final AsyncTurntreeClient async;
  private final AsyncTurntreeClient waiting;

  TurntreeClient(AsyncTurntreeClient async) {
    this.async = async;
    this.waiting = async.forWaiting();
  }

  /**
   * A client with the usual settings. It connects with its first call.
   *
   * @param address {@code host:port}, {@code turntree://host:port} or, with TLS, {@code
   *     turntrees://host:port}
   */
  public static TurntreeClient connect(String address) {
    return builder(address).build();
  }

  /** Sets up a client for an address, as {@link #connect} takes it. */
  public static TurntreeClientBuilder builder(String address) {
    return new TurntreeClientBuilder(address, System.getenv("TURNTREE_TOKEN"));
  }

  /** The same calls as futures and publishers, on the same connection. */
  public AsyncTurntreeClient async() {
    return async;
  }

  /** The same client with another deadline for its calls, on the same connection. */
  public TurntreeClient withTimeout(Duration timeout) {
    return new TurntreeClient(async.withTimeout(timeout));
  }

  /** One session, with the branch that its user stands on. */
  public TurntreeSession session(String sessionId) {
    return new TurntreeSession(this, sessionId);
  }

  /**
   * All pages of a list, each read when it is asked for: {@code client.pages(client::listTurns,
   * request)}.
   *
   * @param list a list of this client
   * @param first asks for the first page
   */
  public <Q extends Message, A extends Message> Iterable<A> pages(Function<Q, A> list, Q first) {
    return () -> new Pages<>(list, first);
  }

  private <A> A await(CompletableFuture<A> future) {
    try {
      return UnaryCall.await(future);
    } finally {
      async.connection().pipeline.woken();
    }
  }

  /** Ends the connection; calls and streams that are under way fail. */
  @Override
  public void close() {
    async.connection().close();
  }

  /** Appends items to a branch, in order, after all that is there: all of them or none. */
  public AddItemsResponse addItems(AddItemsRequest request) {
    return await(waiting.addItems(request));
  }

  /** Reads a branch, or what of it is new to the caller, in parts of about 1 MiB. */
  public GetItemsResponse getItems(GetItemsRequest request) {
    return await(waiting.getItems(request));
  }

  /** Removes the newest item of a branch and returns it. */
  public PopItemResponse popItem(PopItemRequest request) {
    return await(waiting.popItem(request));
  }

  /** Replaces the newest items of a branch, if it is exactly what the caller believes it to be. */
  public ReplaceItemsResponse replaceItems(ReplaceItemsRequest request) {
    return await(waiting.replaceItems(request));
  }

  /** Removes every item, branch and usage figure of a session; labels and expiry stay. */
  public ClearSessionResponse clearSession(ClearSessionRequest request) {
    return await(waiting.clearSession(request));
  }

  /** Describes one session. */
  public GetSessionResponse getSession(GetSessionRequest request) {
    return await(waiting.getSession(request));
  }

  /** Lists sessions, the last active first: one page. */
  public ListSessionsResponse listSessions(ListSessionsRequest request) {
    return await(waiting.listSessions(request));
  }

  /** Sets and removes labels of a session and its expiry, and creates it if it does not exist. */
  public UpdateSessionResponse updateSession(UpdateSessionRequest request) {
    return await(waiting.updateSession(request));
  }

  /** Removes a session with all that belongs to it. */
  public DeleteSessionResponse deleteSession(DeleteSessionRequest request) {
    return await(waiting.deleteSession(request));
  }

  /** Forks a branch: the new one shows the items up to a point, then goes its own way. */
  public CreateBranchResponse createBranch(CreateBranchRequest request) {
    return await(waiting.createBranch(request));
  }

  /** Describes one branch. */
  public GetBranchResponse getBranch(GetBranchRequest request) {
    return await(waiting.getBranch(request));
  }

  /** Lists the branches that hold items, the oldest first: one page. */
  public ListBranchesResponse listBranches(ListBranchesRequest request) {
    return await(waiting.listBranches(request));
  }

  /** Removes a branch, and every item that no other branch shows. Its id stays reserved. */
  public DeleteBranchResponse deleteBranch(DeleteBranchRequest request) {
    return await(waiting.deleteBranch(request));
  }

  /** Finds what two branches share and where they part. */
  public CompareBranchesResponse compareBranches(CompareBranchesRequest request) {
    return await(waiting.compareBranches(request));
  }

  /** Lists the turns of a branch by their user items: one page; see {@link Rows#ofTurns}. */
  public ListTurnsResponse listTurns(ListTurnsRequest request) {
    return await(waiting.listTurns(request));
  }

  /** Finds the turns whose user item contains a text: one page; see {@link Rows#ofTurns}. */
  public SearchTurnsResponse searchTurns(SearchTurnsRequest request) {
    return await(waiting.searchTurns(request));
  }

  /** Outlines a branch by the types and tools of its items: one page; see {@link Rows#ofItems}. */
  public GetConversationByTurnsResponse getConversationByTurns(
      GetConversationByTurnsRequest request) {
    return await(waiting.getConversationByTurns(request));
  }

  /** Counts tool calls by turn and tool: one page; see {@link Rows#ofTools}. */
  public ListToolUsageResponse listToolUsage(ListToolUsageRequest request) {
    return await(waiting.listToolUsage(request));
  }

  /** Records the usage of a branch's current turn, the one its last item belongs to. */
  public RecordUsageResponse recordUsage(RecordUsageRequest request) {
    return await(waiting.recordUsage(request));
  }

  /** Adds up the usage of a session, or of one of its branches. */
  public GetSessionUsageResponse getSessionUsage(GetSessionUsageRequest request) {
    return await(waiting.getSessionUsage(request));
  }

  /** Lists usage by turn, with its JSON details: one page. */
  public ListTurnUsageResponse listTurnUsage(ListTurnUsageRequest request) {
    return await(waiting.listTurnUsage(request));
  }

  /** Adds up usage over sessions, in groups: one page. */
  public SummarizeUsageResponse summarizeUsage(SummarizeUsageRequest request) {
    return await(waiting.summarizeUsage(request));
  }

  /**
   * Reads a branch of any length in parts of about 1 MiB, each with the cursor that resumes after
   * it.
   */
  public ResponseStream<StreamItemsResponse> streamItems(StreamItemsRequest request) {
    return new ResponseStream<>(async.streamItems(request));
  }

  /**
   * Reads the turns of a branch with all their items, oldest first; after a cut nothing comes
   * twice.
   */
  public ResponseStream<StreamTurnsResponse> streamTurns(StreamTurnsRequest request) {
    return new ResponseStream<>(async.streamTurns(request));
  }

  /** Follows a branch: its state by cursor first, then every change, for ever. */
  public ResponseStream<WatchResponse> watch(WatchRequest request) {
    return new ResponseStream<>(async.watch(request));
  }
}
