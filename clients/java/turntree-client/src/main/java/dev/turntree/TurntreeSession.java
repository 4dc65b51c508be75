package dev.turntree;

import com.google.protobuf.ByteString;
import dev.turntree.v1.AddItemsRequest;
import dev.turntree.v1.AddItemsResponse;
import dev.turntree.v1.Branch;
import dev.turntree.v1.BranchPointer;
import dev.turntree.v1.ClearSessionRequest;
import dev.turntree.v1.CreateBranchRequest;
import dev.turntree.v1.DeltaKind;
import dev.turntree.v1.GetBranchRequest;
import dev.turntree.v1.GetItemsRequest;
import dev.turntree.v1.Head;
import dev.turntree.v1.ItemsDelta;
import dev.turntree.v1.PopItemRequest;
import dev.turntree.v1.RecordUsageRequest;
import dev.turntree.v1.RecordUsageResponse;
import dev.turntree.v1.ReplaceItemsRequest;
import dev.turntree.v1.ReplaceItemsResponse;
import dev.turntree.v1.StreamItemsRequest;
import dev.turntree.v1.StreamTurnsRequest;
import dev.turntree.v1.StreamTurnsResponse;
import dev.turntree.v1.Usage;
import dev.turntree.v1.WatchRequest;
import dev.turntree.v1.WatchResponse;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import java.util.concurrent.atomic.AtomicReference;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * One session and its current branch, which is this handle's own state and {@code main} first. When
 * somebody clears the session, the handle is back on {@code main} with its next call. Safe for use
 * by many threads.
 */
public final class TurntreeSession {
  private final TurntreeClient client;
  private final String sessionId;
  private final AtomicReference<BranchPointer> branch =
      new AtomicReference<>(BranchPointer.newBuilder().setBranchId("main").build());

  TurntreeSession(TurntreeClient client, String sessionId) {
    this.client = client;
    this.sessionId = sessionId;
  }

  /** The session's name. */
  public String sessionId() {
    return sessionId;
  }

  /** Where the handle stands, for the requests of {@link TurntreeClient}. */
  public BranchPointer branch() {
    return Objects.requireNonNull(branch.get());
  }

  /** Appends items to the current branch, each a JSON text: all of them or none. */
  public AddItemsResponse addItems(String... items) {
    return addItems(Stream.of(items).map(ByteString::copyFromUtf8).toList());
  }

  /** Appends items to the current branch, each a JSON text in UTF-8: all of them or none. */
  public AddItemsResponse addItems(List<ByteString> items) {
    BranchPointer sent = branch();
    var request = AddItemsRequest.newBuilder().setSessionId(sessionId).setBranch(sent);
    AddItemsResponse response = client.addItems(request.addAllItems(items).build());
    branch.compareAndSet(sent, response.getBranch());
    return response;
  }

  /**
   * Appends items to the current branch with all that a request can say: native forms, a cursor
   * that is expected. Of the request, all but the session and the branch is used.
   */
  public AddItemsResponse addItems(AddItemsRequest request) {
    BranchPointer sent = branch();
    var here = request.toBuilder().setSessionId(sessionId).setBranch(sent).build();
    AddItemsResponse response = client.addItems(here);
    branch.compareAndSet(sent, response.getBranch());
    return response;
  }

  /**
   * Replaces the newest items of the current branch, if it is at the cursor that the request
   * expects. Of the request, all but the session and the branch is used.
   */
  public ReplaceItemsResponse replaceItems(ReplaceItemsRequest request) {
    BranchPointer sent = branch();
    var here = request.toBuilder().setSessionId(sessionId).setBranch(sent).build();
    ReplaceItemsResponse response = client.replaceItems(here);
    branch.compareAndSet(sent, response.getBranch());
    return response;
  }

  /**
   * What is new on the current branch to who is at a cursor, in one answer; {@code more} says
   * whether to ask again. Of the request, all but the session and the branch is used.
   */
  public ItemsDelta readItems(GetItemsRequest request) {
    BranchPointer sent = branch();
    var here = request.toBuilder().setSessionId(sessionId).setBranch(sent).build();
    ItemsDelta delta = client.getItems(here).getDelta();
    branch.compareAndSet(sent, delta.getBranch());
    return delta;
  }

  /** All items of the current branch, in order, however many there are. */
  public List<ByteString> items() {
    BranchPointer sent = branch();
    List<ByteString> items = new ArrayList<>();
    var request = StreamItemsRequest.newBuilder().setSessionId(sessionId).setBranch(sent).build();
    try (var responses = client.streamItems(request)) {
      while (responses.hasNext()) {
        ItemsDelta delta = responses.next().getDelta();
        if (delta.getKind() == DeltaKind.DELTA_KIND_REPLACED) {
          items.clear();
        }
        items.addAll(delta.getItemsList());
        if (branch.compareAndSet(sent, delta.getBranch())) {
          sent = delta.getBranch();
        }
      }
    }
    return items;
  }

  /** Removes the newest item of the current branch and returns it; empty when there is none. */
  public Optional<ByteString> popItem() {
    BranchPointer sent = branch();
    var request = PopItemRequest.newBuilder().setSessionId(sessionId).setBranch(sent).build();
    var response = client.popItem(request);
    branch.compareAndSet(sent, response.getBranch());
    return response.hasItem() ? Optional.of(response.getItem()) : Optional.empty();
  }

  /** Removes every item, branch and usage figure of the session, and goes back to {@code main}. */
  public void clear() {
    var request = ClearSessionRequest.newBuilder().setSessionId(sessionId).build();
    branch.set(client.clearSession(request).getBranch());
  }

  /**
   * Forks the current branch before a turn, so that it can be asked anew, and goes to the new
   * branch.
   */
  public Branch branchBefore(long turn, String newBranchId) {
    return fork(before(turn), newBranchId);
  }

  /** As {@link #branchBefore(long, String)}, with an id that the server makes up. */
  public Branch branchBefore(long turn) {
    return fork(before(turn), null);
  }

  /** Forks the current branch after the last item of a turn, and goes to the new branch. */
  public Branch branchAfter(long turn, String newBranchId) {
    return fork(after(turn), newBranchId);
  }

  /** As {@link #branchAfter(long, String)}, with an id that the server makes up. */
  public Branch branchAfter(long turn) {
    return fork(after(turn), null);
  }

  /**
   * Forks the current branch before the first turn whose user item contains a text, ignoring the
   * case of ASCII letters, and goes to the new branch.
   */
  public Branch branchBeforeContent(String content, String newBranchId) {
    return fork(beforeContent(content), newBranchId);
  }

  /** As {@link #branchBeforeContent(String, String)}, with an id that the server makes up. */
  public Branch branchBeforeContent(String content) {
    return fork(beforeContent(content), null);
  }

  /** Forks the current branch at its end, and goes to the new branch. */
  public Branch branchHere(String newBranchId) {
    return fork(atHead(), newBranchId);
  }

  /** As {@link #branchHere(String)}, with an id that the server makes up. */
  public Branch branchHere() {
    return fork(atHead(), null);
  }

  private static CreateBranchRequest.Builder before(long turn) {
    return CreateBranchRequest.newBuilder().setTurn(turn);
  }

  private static CreateBranchRequest.Builder after(long turn) {
    return CreateBranchRequest.newBuilder().setAfterTurn(turn);
  }

  private static CreateBranchRequest.Builder beforeContent(String content) {
    return CreateBranchRequest.newBuilder().setContent(content);
  }

  private static CreateBranchRequest.Builder atHead() {
    return CreateBranchRequest.newBuilder().setHead(Head.getDefaultInstance());
  }

  private Branch fork(CreateBranchRequest.Builder request, @Nullable String newBranchId) {
    request.setSessionId(sessionId).setBranch(branch());
    if (newBranchId != null) {
      request.setNewBranchId(newBranchId);
    }
    return standOn(client.createBranch(request.build()).getBranch());
  }

  /** Goes to another branch, which holds items or is {@code main}. */
  public Branch switchTo(String branchId) {
    var request = GetBranchRequest.newBuilder().setSessionId(sessionId).setBranchId(branchId);
    return standOn(client.getBranch(request.build()).getBranch());
  }

  private Branch standOn(Branch other) {
    branch.set(
        BranchPointer.newBuilder()
            .setBranchId(other.getBranchId())
            .setGeneration(other.getGeneration())
            .build());
    return other;
  }

  /** Records the usage of the current turn; the answer says whether there was one. */
  public RecordUsageResponse recordUsage(Usage usage) {
    BranchPointer sent = branch();
    var request = RecordUsageRequest.newBuilder().setSessionId(sessionId).setBranch(sent);
    var response = client.recordUsage(request.setUsage(usage).build());
    branch.compareAndSet(sent, response.getBranch());
    return response;
  }

  /** The turns of the current branch with all their items, oldest first. */
  public ResponseStream<StreamTurnsResponse> streamTurns() {
    var request = StreamTurnsRequest.newBuilder().setSessionId(sessionId).setBranch(branch());
    return client.streamTurns(request.build());
  }

  /** The current branch as it is, then every change, for ever. */
  public ResponseStream<WatchResponse> watch() {
    var request = WatchRequest.newBuilder().setSessionId(sessionId).setBranch(branch());
    return client.watch(request.build());
  }
}
