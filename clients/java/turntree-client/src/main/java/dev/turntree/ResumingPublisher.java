package dev.turntree;

import io.grpc.ClientCall;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import io.grpc.Status;
import io.grpc.SynchronizationContext;
import java.time.Duration;
import java.util.concurrent.Flow;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/** A stream that goes on where it was cut: every subscription is a stream of its own. */
final class ResumingPublisher<Q, A> implements Flow.Publisher<A> {
  private final Connection connection;
  private final MethodDescriptor<Q, A> method;
  private final Supplier<StreamReader<Q, A>> readers;
  private final Duration retryFor;

  ResumingPublisher(
      Connection connection,
      MethodDescriptor<Q, A> method,
      Supplier<StreamReader<Q, A>> readers,
      Duration retryFor) {
    this.connection = connection;
    this.method = method;
    this.readers = readers;
    this.retryFor = retryFor;
  }

  @Override
  public void subscribe(Flow.Subscriber<? super A> subscriber) {
    subscriber.onSubscribe(new Subscription(subscriber));
  }

  /** All that follows a constructor runs in {@code context}, one thing after the other. */
  private final class Subscription implements Flow.Subscription {
    private final Flow.Subscriber<? super A> subscriber;
    private final StreamReader<Q, A> reader = readers.get();
    private final Retries retries =
        new Retries(
            connection.budget,
            retryFor,
            Retries.STREAM_DELAY_MAX,
            Duration.ofDays(365 * 100),
            connection.isRenewable);
    private final SynchronizationContext context =
        new SynchronizationContext((thread, error) -> end(error));
    private long demand;
    private boolean isBegun;
    private boolean isAsked;
    private boolean isOver;
    private @Nullable ClientCall<Q, A> call;
    private @Nullable TurntreeException cut;

    Subscription(Flow.Subscriber<? super A> subscriber) {
      this.subscriber = subscriber;
    }

    @Override
    public void request(long count) {
      context.execute(
          () -> {
            if (count <= 0) {
              end(new IllegalArgumentException("request(" + count + "): must be positive"));
              return;
            }
            demand = demand + count < 0 ? Long.MAX_VALUE : demand + count;
            if (isBegun) {
              pull();
            } else {
              isBegun = true;
              begin();
            }
          });
    }

    @Override
    public void cancel() {
      context.execute(
          () -> {
            isOver = true;
            leave();
          });
    }

    private void leave() {
      ClientCall<Q, A> current = call;
      call = null;
      if (current != null) {
        current.cancel("the reader left", null);
      }
    }

    private void end(@Nullable Throwable error) {
      if (isOver) {
        return;
      }
      isOver = true;
      leave();
      if (error == null) {
        subscriber.onComplete();
      } else {
        subscriber.onError(error);
      }
    }

    private void begin() {
      TurntreeException closed = connection.closedError();
      if (isOver || closed != null) {
        end(closed);
        return;
      }
      var begun = connection.channel.newCall(method, connection.options);
      call = begun;
      isAsked = false;
      begun.start(
          new ClientCall.Listener<A>() {
            @Override
            public void onMessage(A response) {
              context.execute(
                  () -> {
                    if (call == begun) {
                      taken(response);
                    }
                  });
            }

            @Override
            public void onClose(Status status, Metadata trailers) {
              context.execute(
                  () -> {
                    if (call == begun) {
                      closed(status, trailers);
                    }
                  });
            }
          },
          new Metadata());
      begun.sendMessage(reader.request());
      begun.halfClose();
      pull();
    }

    private void pull() {
      if (demand > 0 && call != null && !isAsked) {
        isAsked = true;
        call.request(1);
      }
    }

    private void taken(A response) {
      connection.budget.answered();
      isAsked = false;
      StreamReader.Taken<A> taken = reader.take(response);
      if (taken.isBroken()) {
        end(cut != null ? cut : Statuses.stopped(connection.target + ": the stream changed"));
        return;
      }
      if (taken.isNews()) {
        retries.succeeded();
        if (reader.isEndless()) {
          retries.neverGiveUp();
        }
      }
      A news = taken.response();
      if (news != null) {
        demand--;
        subscriber.onNext(news);
      }
      pull();
    }

    private void closed(Status status, Metadata trailers) {
      call = null;
      if (status.isOk() && !reader.isEndless()) {
        end(null);
        return;
      }
      TurntreeException error =
          status.isOk()
              ? Statuses.stopped(connection.target + ": the stream ended")
              : Statuses.toException(status, trailers, connection.target);
      TurntreeException closed = connection.closedError();
      if (closed == null && retries.isAgain(error) && reader.isComplete()) {
        end(null);
        return;
      }
      long wait = closed != null ? Retries.NEVER : retries.waitNanos(error);
      if (wait == Retries.NEVER) {
        end(closed != null ? closed : error);
        return;
      }
      cut = error;
      connection.after(wait, () -> context.execute(this::beginAgain));
    }

    private void beginAgain() {
      connection.channel.resetConnectBackoff();
      reader.resume();
      begin();
    }
  }
}
