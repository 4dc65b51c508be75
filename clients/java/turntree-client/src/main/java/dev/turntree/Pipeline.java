package dev.turntree;

import static java.util.Objects.requireNonNull;

import com.google.protobuf.Descriptors.Descriptor;
import com.google.protobuf.Descriptors.FieldDescriptor;
import com.google.protobuf.Duration;
import com.google.protobuf.Message;
import dev.turntree.v1.PipelineCall;
import dev.turntree.v1.PipelineReply;
import dev.turntree.v1.PipelineRequest;
import dev.turntree.v1.PipelineResponse;
import dev.turntree.v1.PipelineServiceGrpc;
import io.grpc.ClientCall;
import io.grpc.Deadline;
import io.grpc.Metadata;
import io.grpc.Status;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import org.jspecify.annotations.Nullable;

/**
 * Many calls on one stream: what waits is sent together, and each reply goes to its caller. The
 * stream is opened with the first call. When it breaks, its calls are given back to their callers,
 * who make them again; all of them wait for the same new stream.
 */
final class Pipeline {
  /** Who waits for a reply. It is told of its end once, unless it leaves; it must not block. */
  interface Caller {
    Message request();

    Deadline deadline();

    void replied(PipelineReply reply);

    void failed(TurntreeException error);

    void broken(Break end);
  }

  /**
   * The end of a stream.
   *
   * @param openedNanos when it was opened, which is before its token was made
   * @param waitNanos until another may be opened
   */
  record Break(TurntreeException error, long openedNanos, long waitNanos) {}

  private static final int CALLS_MAX = 64;
  private static final int MESSAGE_BYTES_MAX = 4 << 20;
  private static final int CALL_BYTES_MAX = 1 << 20;
  private static final Map<Descriptor, FieldDescriptor> FIELDS = new HashMap<>();

  static {
    for (FieldDescriptor field : PipelineCall.getDescriptor().getOneofs().get(0).getFields()) {
      FIELDS.put(field.getMessageType(), field);
    }
  }

  private final Connection connection;
  private final Object lock = new Object();
  private final Map<Long, Caller> unsent = new LinkedHashMap<>();
  private final Map<Long, Caller> sent = new HashMap<>();
  private final Retries.Backoff backoff = new Retries.Backoff(Retries.CALL_DELAY_MAX);
  private final AtomicLong lastId = new AtomicLong();
  private @Nullable Stream stream;
  private long openAgainNanos = System.nanoTime();
  private boolean isOpeningLater;
  private boolean isSending;
  private int waking;
  private boolean isClosed;
  private volatile boolean isUnknown;
  private @Nullable Deadline watched;
  private @Nullable Future<?> watch;

  Pipeline(Connection connection) {
    this.connection = connection;
  }

  /**
   * Whether a request is for the pipeline. A large one would hold up the others, and a server may
   * be older than the pipeline.
   */
  boolean takes(Message request) {
    return !isUnknown
        && request.getSerializedSize() <= CALL_BYTES_MAX
        && FIELDS.containsKey(request.getDescriptorForType());
  }

  /** A name for a call. */
  long nextId() {
    return lastId.incrementAndGet();
  }

  /** Makes a call with a name of its own, which {@link #leave} takes. */
  void start(long id, Caller caller) {
    boolean isTooLate;
    synchronized (lock) {
      isTooLate = isClosed;
      if (!isTooLate) {
        unsent.put(id, caller);
        watch(caller.deadline());
      }
    }
    if (isTooLate) {
      caller.failed(Statuses.closed());
    } else {
      advance();
    }
  }

  /** Forgets a call: if it was sent, its reply is ignored. */
  void leave(long id) {
    synchronized (lock) {
      unsent.remove(id);
      sent.remove(id);
    }
    send();
  }

  /** Ends all calls. */
  void close() {
    List<Caller> callers;
    synchronized (lock) {
      isClosed = true;
      stream = null;
      callers = takeAll();
      if (watch != null) {
        watch.cancel(false);
      }
    }
    callers.forEach(caller -> caller.failed(Statuses.closed()));
  }

  /** The response in a reply to a request. */
  static Message response(Message request, PipelineReply reply) {
    int number = field(request).getNumber();
    return (Message) reply.getField(PipelineReply.getDescriptor().findFieldByNumber(number));
  }

  private static FieldDescriptor field(Message request) {
    return requireNonNull(FIELDS.get(request.getDescriptorForType()));
  }

  /** Opens a stream if there is none and it is time to, and sends what waits. */
  private void advance() {
    Stream opened = null;
    synchronized (lock) {
      if (stream == null && !unsent.isEmpty()) {
        long wait = openAgainNanos - System.nanoTime();
        if (wait <= 0) {
          opened = new Stream();
          stream = opened;
        } else if (!isOpeningLater) {
          isOpeningLater = true;
          connection.timer.schedule(this::openLater, wait, TimeUnit.NANOSECONDS);
        }
      }
    }
    if (opened != null) {
      opened.start();
    }
    send();
  }

  private void openLater() {
    synchronized (lock) {
      isOpeningLater = false;
    }
    advance();
  }

  /** Gives a thread that waits for it an answer; the thread says when it runs again. */
  void wake(Runnable answering) {
    synchronized (lock) {
      waking++;
    }
    answering.run();
  }

  /** A thread that waited for an answer runs again. */
  void woken() {
    synchronized (lock) {
      waking = Math.max(0, waking - 1);
    }
    send();
  }

  /**
   * Whether to wait for threads that have their answers and did not come to run yet: they mostly
   * make their next calls at once, and a message of many calls is far less work, for the server
   * most of all. Only answers of one message are waited for, and only while others are on their
   * way.
   */
  private boolean isHeld() {
    return waking > 0 && !sent.isEmpty() && unsent.size() < CALLS_MAX;
  }

  /** Sends what waits. One thread does; what others add meanwhile travels together. */
  private void send() {
    synchronized (lock) {
      if (isSending || unsent.isEmpty() || isHeld()) {
        return;
      }
      isSending = true;
    }
    try {
      boolean isMore = true;
      while (isMore) {
        isMore = sendMessage();
      }
    } catch (RuntimeException | Error error) {
      synchronized (lock) {
        isSending = false;
      }
      throw error;
    }
  }

  /** Sends one message; if there is none, or it cannot be sent yet, others may send from now on. */
  private boolean sendMessage() {
    ClientCall<PipelineRequest, PipelineResponse> call;
    PipelineRequest message;
    synchronized (lock) {
      if (unsent.isEmpty() || isHeld() || stream == null || !stream.isReady()) {
        isSending = false;
        return false;
      }
      call = stream.call;
      message = nextMessage();
    }
    call.sendMessage(message);
    return true;
  }

  private PipelineRequest nextMessage() {
    var message = PipelineRequest.newBuilder();
    long bytes = 0;
    var waiting = unsent.entrySet().iterator();
    while (waiting.hasNext() && message.getCallsCount() < CALLS_MAX && bytes < MESSAGE_BYTES_MAX) {
      var next = waiting.next();
      waiting.remove();
      sent.put(next.getKey(), next.getValue());
      PipelineCall call = message(next.getKey(), next.getValue());
      bytes += call.getSerializedSize();
      message.addCalls(call);
    }
    return message.build();
  }

  private static PipelineCall message(long id, Caller caller) {
    Message request = caller.request();
    long left = Math.max(1, caller.deadline().timeRemaining(TimeUnit.NANOSECONDS));
    var timeout =
        Duration.newBuilder()
            .setSeconds(left / 1_000_000_000)
            .setNanos((int) (left % 1_000_000_000));
    return PipelineCall.newBuilder()
        .setCallId(id)
        .setTimeout(timeout)
        .setField(field(request), request)
        .build();
  }

  private List<Caller> takeAll() {
    List<Caller> callers = new ArrayList<>(sent.values());
    callers.addAll(unsent.values());
    sent.clear();
    unsent.clear();
    return callers;
  }

  /** Sees to it that somebody looks at a deadline: one timer, for the first of all. */
  private void watch(Deadline deadline) {
    if (watched != null && !deadline.isBefore(watched)) {
      return;
    }
    if (watch != null) {
      watch.cancel(false);
    }
    watched = deadline;
    watch = deadline.runOnExpiration(this::expire, connection.timer);
  }

  private void expire() {
    List<Caller> expired = new ArrayList<>();
    synchronized (lock) {
      watched = null;
      watch = null;
      for (Map<Long, Caller> some : List.of(sent, unsent)) {
        some.values().removeIf(caller -> caller.deadline().isExpired() && expired.add(caller));
        if (!isClosed) {
          some.values().forEach(caller -> watch(caller.deadline()));
        }
      }
    }
    Status late = Status.DEADLINE_EXCEEDED.withDescription("no answer before the deadline");
    expired.forEach(caller -> caller.failed(Statuses.toException(late, null, connection.target)));
    send();
  }

  private final class Stream extends ClientCall.Listener<PipelineResponse> {
    private final long openedNanos = System.nanoTime();
    private final ClientCall<PipelineRequest, PipelineResponse> call =
        connection.channel.newCall(
            PipelineServiceGrpc.getPipelineMethod(),
            // Replies are handed out where they arrive: nobody who is told of one may block.
            connection.options.withExecutor(Runnable::run));
    private boolean isStarted;

    void start() {
      // A server that is back is found now, and not when gRPC would look for it by itself.
      connection.channel.resetConnectBackoff();
      call.start(this, new Metadata());
      call.request(1);
      synchronized (lock) {
        isStarted = true;
      }
    }

    boolean isReady() {
      return isStarted && call.isReady();
    }

    @Override
    public void onReady() {
      send();
    }

    @Override
    public void onMessage(PipelineResponse response) {
      synchronized (lock) {
        waking = 0;
        backoff.reset();
      }
      for (PipelineReply reply : response.getRepliesList()) {
        Caller caller;
        synchronized (lock) {
          caller = sent.remove(reply.getCallId());
        }
        if (caller != null) {
          caller.replied(reply);
        }
      }
      call.request(1);
      send();
    }

    @Override
    public void onClose(Status status, Metadata trailers) {
      TurntreeException error =
          status.isOk()
              ? Statuses.stopped(connection.target + ": the stream ended")
              : Statuses.toException(status, trailers, connection.target);
      long wait = 0;
      List<Caller> callers;
      synchronized (lock) {
        if (stream != this) {
          return;
        }
        stream = null;
        isUnknown = error.code() == Status.Code.UNIMPLEMENTED;
        if (error.isRetryable()) {
          wait = backoff.nextNanos(error.retryAfter());
        }
        openAgainNanos = System.nanoTime() + wait;
        callers = takeAll();
      }
      Break end = new Break(error, openedNanos, wait);
      callers.forEach(caller -> caller.broken(end));
    }
  }
}
