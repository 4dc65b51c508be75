package dev.turntree;

import io.grpc.CallCredentials;
import io.grpc.CallOptions;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.Status;
import io.grpc.netty.shaded.io.grpc.netty.NettyChannelBuilder;
import io.grpc.netty.shaded.io.netty.channel.ChannelOption;
import java.time.Duration;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.Executor;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.FutureTask;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.ScheduledThreadPoolExecutor;
import java.util.concurrent.SynchronousQueue;
import java.util.concurrent.ThreadPoolExecutor;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;

/** A channel to a server, and what its calls share. */
final class Connection implements AutoCloseable {
  private static final int WINDOW_BYTES = 4 << 20;
  private static final int CONNECT_MILLIS_MAX = 4_000;
  private static final int IDLE_SECONDS_MAX = 10;

  final ManagedChannel channel;
  final String target;
  final CallOptions options;

  /** Whether a stream that is opened again may show another token. */
  final boolean isRenewable;

  final Retries.Budget budget = new Retries.Budget();
  final ScheduledThreadPoolExecutor timer =
      new ScheduledThreadPoolExecutor(1, work -> daemon(work, "turntree-timer"));

  /** What waits for its time, of which the end of the client is another. */
  final Set<FutureTask<?>> waiting = ConcurrentHashMap.newKeySet();

  /** Runs what may block: functions that give tokens, and what waits for futures. */
  final ExecutorService workers =
      new ThreadPoolExecutor(
          0,
          Integer.MAX_VALUE,
          IDLE_SECONDS_MAX,
          TimeUnit.SECONDS,
          new SynchronousQueue<>(),
          work -> daemon(work, "turntree-worker"),
          (work, closed) -> work.run());

  final Pipeline pipeline = new Pipeline(this);
  private volatile boolean isClosed;

  /**
   * A connection, made with its first call.
   *
   * @param tokenTimeout how long a function may take to give a token
   */
  Connection(Address address, @Nullable Token token, Duration tokenTimeout) {
    timer.setExecuteExistingDelayedTasksAfterShutdownPolicy(false);
    target = address.target();
    if (token != null && !address.isPrivate()) {
      throw TurntreeException.invalid(
          "url", target, "turntrees://… where there is a token, except on this machine itself");
    }
    isRenewable = token != null && token.isFresh();
    options =
        token == null
            ? CallOptions.DEFAULT
            : CallOptions.DEFAULT.withCallCredentials(new Bearer(token, tokenTimeout, workers));
    channel =
        NettyChannelBuilder.forAddress(address.host(), address.port(), address.credentials())
            .disableRetry()
            .userAgent("turntree-java")
            .maxInboundMessageSize(Integer.MAX_VALUE)
            .initialFlowControlWindow(WINDOW_BYTES)
            .withOption(ChannelOption.CONNECT_TIMEOUT_MILLIS, CONNECT_MILLIS_MAX)
            // A connection that died without a word is noticed; gRPC for Java asks no more often.
            .keepAliveTime(10, TimeUnit.SECONDS)
            .keepAliveTimeout(2, TimeUnit.SECONDS)
            .keepAliveWithoutCalls(true)
            .build();
  }

  private static Thread daemon(Runnable work, String name) {
    Thread thread = new Thread(work, name);
    thread.setDaemon(true);
    return thread;
  }

  /** The error of what is still asked of a client that was closed, or null. */
  @Nullable TurntreeException closedError() {
    return isClosed ? Statuses.closed() : null;
  }

  /**
   * Does something after a time; at once when the client is closed, of which it is to take note.
   */
  void after(long nanos, Runnable work) {
    var once = new FutureTask<@Nullable Void>(work, null);
    waiting.add(once);
    try {
      timer.schedule(() -> run(once), nanos, TimeUnit.NANOSECONDS);
    } catch (RejectedExecutionException closed) {
      run(once);
    }
    if (isClosed) {
      run(once);
    }
  }

  private void run(FutureTask<?> once) {
    waiting.remove(once);
    once.run();
  }

  @Override
  public void close() {
    isClosed = true;
    pipeline.close();
    channel.shutdownNow();
    timer.shutdown();
    waiting.forEach(this::run);
    workers.shutdown();
  }

  private static final class Bearer extends CallCredentials {
    private static final Metadata.Key<String> KEY =
        Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER);
    private final Token token;
    private final Duration timeout;
    private final Executor workers;

    Bearer(Token token, Duration timeout, Executor workers) {
      this.token = token;
      this.timeout = timeout;
      this.workers = workers;
    }

    @Override
    public void applyRequestMetadata(RequestInfo info, Executor executor, MetadataApplier applier) {
      CompletableFuture.supplyAsync(token::get, workers)
          .orTimeout(timeout.toNanos(), TimeUnit.NANOSECONDS)
          .whenComplete(
              (shown, error) -> {
                if (error == null) {
                  Metadata headers = new Metadata();
                  headers.put(KEY, "Bearer " + shown);
                  applier.apply(headers);
                } else if (error.getCause() instanceof TurntreeException why) {
                  applier.fail(Status.UNAUTHENTICATED.withCause(why));
                } else {
                  applier.fail(Status.DEADLINE_EXCEEDED.withDescription("no token came in time"));
                }
              });
    }
  }
}
