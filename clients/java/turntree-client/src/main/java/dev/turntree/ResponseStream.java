package dev.turntree;

import java.util.Iterator;
import java.util.NoSuchElementException;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CancellationException;
import java.util.concurrent.Flow;
import java.util.concurrent.LinkedBlockingQueue;
import org.jspecify.annotations.Nullable;

/**
 * The responses of a stream, one after the other. It is asked for at once, reads one response ahead
 * at most, and goes on by itself where it was cut. Close it to leave it; one thread reads, any may
 * close.
 *
 * @param <A> the response
 */
public final class ResponseStream<A> implements Iterator<A>, AutoCloseable {
  private record Signal<A>(@Nullable A response, @Nullable Throwable error) {}

  private final BlockingQueue<Signal<A>> signals = new LinkedBlockingQueue<>();
  private volatile Flow.@Nullable Subscription subscription;
  private @Nullable Signal<A> next;
  private boolean isAsked = true;

  ResponseStream(Flow.Publisher<A> publisher) {
    publisher.subscribe(
        new Flow.Subscriber<A>() {
          @Override
          public void onSubscribe(Flow.Subscription made) {
            subscription = made;
            made.request(1);
          }

          @Override
          public void onNext(A response) {
            signals.add(new Signal<>(response, null));
          }

          @Override
          public void onError(Throwable error) {
            signals.add(new Signal<>(null, error));
          }

          @Override
          public void onComplete() {
            signals.add(new Signal<>(null, null));
          }
        });
  }

  /**
   * Waits for the next response.
   *
   * @return false when the stream has ended
   * @throws TurntreeException when the stream failed
   */
  @Override
  public boolean hasNext() {
    Signal<A> current = next;
    if (current == null) {
      if (!isAsked && subscription != null) {
        isAsked = true;
        subscription.request(1);
      }
      try {
        current = signals.take();
      } catch (InterruptedException interrupted) {
        close();
        Thread.currentThread().interrupt();
        throw new CancellationException("the thread was interrupted");
      }
      next = current;
    }
    if (current.error() instanceof TurntreeException error) {
      throw error.asSeenByCaller();
    }
    if (current.error() != null) {
      throw new IllegalStateException(current.error());
    }
    return current.response() != null;
  }

  @Override
  public A next() {
    if (!hasNext() || next == null || next.response() == null) {
      throw new NoSuchElementException("the stream has ended");
    }
    A response = next.response();
    next = null;
    isAsked = false;
    return response;
  }

  /** Leaves the stream; a reader that waits sees its end. */
  @Override
  public void close() {
    if (subscription != null) {
      subscription.cancel();
    }
    signals.add(new Signal<>(null, null));
  }
}
