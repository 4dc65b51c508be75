package dev.turntree;

import com.google.protobuf.Message;
import dev.turntree.v1.PipelineReply;
import io.grpc.Deadline;
import io.grpc.MethodDescriptor;
import io.grpc.Status;
import io.grpc.protobuf.StatusProto;
import io.grpc.stub.ClientCalls;
import io.grpc.stub.StreamObserver;
import java.time.Duration;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Executor;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;

/**
 * One call, its retries included: the way of every call of the client. It goes by the pipeline, or
 * by itself where that does not take it.
 */
final class UnaryCall<Q extends Message, A> implements Pipeline.Caller {
  private final Connection connection;
  private final MethodDescriptor<Q, A> method;
  private final Q request;
  private final Retries retries;
  private final Deadline deadline;
  private final Executor completing;
  private final long startedNanos = System.nanoTime();
  private final CompletableFuture<A> result = new CompletableFuture<>();
  private volatile @Nullable Runnable cancel;

  private UnaryCall(
      Connection connection,
      MethodDescriptor<Q, A> method,
      Q request,
      Duration timeout,
      Duration retryFor,
      Executor completing) {
    this.connection = connection;
    this.method = method;
    this.request = RequestIds.named(request);
    // The token of a call that goes by itself is made for it, and that of the pipeline is renewed.
    this.retries = new Retries(connection.budget, retryFor, Retries.CALL_DELAY_MAX, timeout, false);
    this.deadline = Deadline.after(timeout.toNanos(), TimeUnit.NANOSECONDS);
    this.completing = completing;
  }

  /**
   * Makes a call.
   *
   * @param completing completes the future; it may do so at once only if nothing that depends on
   *     the future can block
   */
  static <Q extends Message, A> CompletableFuture<A> start(
      Connection connection,
      MethodDescriptor<Q, A> method,
      Q request,
      Duration timeout,
      Duration retryFor,
      Executor completing) {
    var unary = new UnaryCall<>(connection, method, request, timeout, retryFor, completing);
    unary.result.whenComplete((answer, error) -> unary.cancelIfLeft());
    unary.attempt();
    return unary.result;
  }

  private void cancelIfLeft() {
    Runnable current = cancel;
    if (result.isCancelled() && current != null) {
      current.run();
    }
  }

  private void attempt() {
    if (result.isDone()) { // its caller has left
      return;
    }
    TurntreeException closed = connection.closedError();
    if (closed != null) {
      fail(closed);
      return;
    }
    if (connection.pipeline.takes(request)) {
      // The stream may break before the start returns, and this be the second try by then.
      long id = connection.pipeline.nextId();
      cancel = () -> connection.pipeline.leave(id);
      connection.pipeline.start(id, this);
    } else {
      attemptAlone();
    }
    cancelIfLeft();
  }

  private void attemptAlone() {
    var call = connection.channel.newCall(method, connection.options.withDeadline(deadline));
    cancel = () -> call.cancel("the caller cancelled", null);
    ClientCalls.asyncUnaryCall(
        call,
        request,
        new StreamObserver<A>() {
          @Override
          public void onNext(A answer) {
            answered(answer);
          }

          @Override
          public void onError(Throwable error) {
            failed(toException(error));
          }

          @Override
          public void onCompleted() {}
        });
  }

  @Override
  public Message request() {
    return request;
  }

  @Override
  public Deadline deadline() {
    return deadline;
  }

  @Override
  @SuppressWarnings("unchecked")
  public void replied(PipelineReply reply) {
    if (reply.hasError()) {
      failed(toException(StatusProto.toStatusRuntimeException(reply.getError())));
    } else {
      answered((A) Pipeline.response(request, reply));
    }
  }

  @Override
  public void broken(Pipeline.Break end) {
    TurntreeException error = end.error();
    boolean isAgain =
        switch (error.code()) {
          case UNIMPLEMENTED -> true;
          // The token may have been older than this call. One made for it is not tried again.
          case UNAUTHENTICATED ->
              end.openedNanos() - startedNanos < 0 && retries.hasTime(System.nanoTime());
          // The token did not come in the time of a call; those who have more ask for another one.
          case DEADLINE_EXCEEDED -> retries.isInTime(end.waitNanos());
          // The pipeline waits once for all calls, so that none of them takes of the budget.
          default -> error.isRetryable() && retries.isInTime(end.waitNanos());
        };
    if (isAgain) {
      attempt();
    } else {
      fail(error);
    }
  }

  @Override
  public void failed(TurntreeException error) {
    if (!error.facts().containsKey("target")) {
      connection.budget.answered();
    }
    TurntreeException closed = connection.closedError();
    long wait = closed != null ? Retries.NEVER : retries.waitNanos(error);
    if (wait == Retries.NEVER || result.isDone()) {
      fail(closed != null ? closed : error);
      return;
    }
    connection.after(
        wait,
        () -> {
          // A server that is back is found now, and not when gRPC would look for it by itself.
          connection.channel.resetConnectBackoff();
          attempt();
        });
  }

  private TurntreeException toException(Throwable thrown) {
    return Statuses.toException(
        Status.fromThrowable(thrown), Status.trailersFromThrowable(thrown), connection.target);
  }

  private void answered(A answer) {
    connection.budget.answered();
    completing.execute(() -> result.complete(answer));
  }

  private void fail(TurntreeException error) {
    completing.execute(() -> result.completeExceptionally(error));
  }

  /** Waits for an answer; a thread that is interrupted cancels the call. */
  static <A> A await(CompletableFuture<A> future) {
    try {
      return future.get();
    } catch (InterruptedException interrupted) {
      future.cancel(true);
      Thread.currentThread().interrupt();
      throw new CancellationException("the thread was interrupted");
    } catch (ExecutionException error) {
      if (error.getCause() instanceof TurntreeException cause) {
        throw cause.asSeenByCaller();
      }
      throw new IllegalStateException(error.getCause());
    }
  }
}
