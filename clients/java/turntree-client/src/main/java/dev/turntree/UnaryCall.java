package dev.turntree;

import com.google.protobuf.Message;
import io.grpc.ClientCall;
import io.grpc.Deadline;
import io.grpc.MethodDescriptor;
import io.grpc.Status;
import io.grpc.stub.ClientCalls;
import io.grpc.stub.StreamObserver;
import java.time.Duration;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;

/** One call, its retries included: the way of every call of the client. */
final class UnaryCall<Q extends Message, A> {
  private final Connection connection;
  private final MethodDescriptor<Q, A> method;
  private final Q request;
  private final Retries retries;
  private final Deadline deadline;
  private final CompletableFuture<A> result = new CompletableFuture<>();
  private volatile @Nullable ClientCall<Q, A> call;

  private UnaryCall(
      Connection connection,
      MethodDescriptor<Q, A> method,
      Q request,
      Duration timeout,
      Duration retryFor) {
    this.connection = connection;
    this.method = method;
    this.request = RequestIds.named(request);
    this.retries = new Retries(connection.budget, retryFor, Retries.CALL_DELAY_MAX, timeout);
    this.deadline = Deadline.after(timeout.toNanos(), TimeUnit.NANOSECONDS);
  }

  static <Q extends Message, A> CompletableFuture<A> start(
      Connection connection,
      MethodDescriptor<Q, A> method,
      Q request,
      Duration timeout,
      Duration retryFor) {
    var unary = new UnaryCall<>(connection, method, request, timeout, retryFor);
    unary.result.whenComplete((answer, error) -> unary.cancelIfLeft());
    unary.attempt();
    return unary.result;
  }

  private void cancelIfLeft() {
    ClientCall<Q, A> current = call;
    if (result.isCancelled() && current != null) {
      current.cancel("the caller cancelled", null);
    }
  }

  private void attempt() {
    TurntreeException closed = connection.closedError();
    if (closed != null) {
      result.completeExceptionally(closed);
      return;
    }
    var current = connection.channel.newCall(method, connection.options.withDeadline(deadline));
    call = current;
    ClientCalls.asyncUnaryCall(
        current,
        request,
        new StreamObserver<A>() {
          @Override
          public void onNext(A answer) {
            connection.budget.answered();
            result.complete(answer);
          }

          @Override
          public void onError(Throwable error) {
            failed(error);
          }

          @Override
          public void onCompleted() {}
        });
    cancelIfLeft();
  }

  private void failed(Throwable thrown) {
    TurntreeException error =
        Statuses.toException(
            Status.fromThrowable(thrown), Status.trailersFromThrowable(thrown), connection.target);
    if (!error.facts().containsKey("target")) {
      connection.budget.answered();
    }
    TurntreeException closed = connection.closedError();
    long wait = closed != null ? Retries.NEVER : retries.waitNanos(error);
    if (wait == Retries.NEVER || result.isDone()) {
      result.completeExceptionally(closed != null ? closed : error);
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
