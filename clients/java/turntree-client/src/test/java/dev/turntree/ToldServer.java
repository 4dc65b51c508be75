package dev.turntree;

import dev.turntree.v1.PipelineCall;
import dev.turntree.v1.PipelineReply;
import dev.turntree.v1.PipelineRequest;
import dev.turntree.v1.PipelineResponse;
import dev.turntree.v1.PipelineServiceGrpc;
import io.grpc.BindableService;
import io.grpc.Context;
import io.grpc.Contexts;
import io.grpc.Grpc;
import io.grpc.InsecureServerCredentials;
import io.grpc.Metadata;
import io.grpc.Server;
import io.grpc.ServerCall;
import io.grpc.ServerCallHandler;
import io.grpc.ServerInterceptor;
import io.grpc.stub.StreamObserver;
import java.io.IOException;
import java.util.ArrayDeque;
import java.util.List;
import java.util.Queue;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.jspecify.annotations.Nullable;

/** A server whose streams of calls do what a test says. */
final class ToldServer implements AutoCloseable {
  private static final Context.Key<String> AUTHORIZATION = Context.key("authorization");

  private final BlockingQueue<Stream> streams = new LinkedBlockingQueue<>();
  private final AtomicInteger opened = new AtomicInteger();
  private final Server server;

  ToldServer(BindableService... others) throws IOException {
    var builder = Grpc.newServerBuilderForPort(0, InsecureServerCredentials.create());
    for (BindableService other : others) {
      builder.addService(other);
    }
    server = builder.addService(new Service()).intercept(new Authorization()).build().start();
  }

  String address() {
    return "127.0.0.1:" + server.getPort();
  }

  /** How many streams were opened so far. */
  int opened() {
    return opened.get();
  }

  /** The next stream that is opened. */
  Stream stream() throws InterruptedException {
    return next(streams);
  }

  private static <T> T next(BlockingQueue<T> queue) throws InterruptedException {
    T found = queue.poll(30, TimeUnit.SECONDS);
    if (found == null) {
      throw new AssertionError("nothing came");
    }
    return found;
  }

  @Override
  public void close() {
    server.shutdownNow();
  }

  /** An open stream. */
  static final class Stream implements StreamObserver<PipelineRequest> {
    private final StreamObserver<PipelineResponse> responses;
    private final @Nullable String authorization = AUTHORIZATION.get();
    private final BlockingQueue<List<PipelineCall>> messages = new LinkedBlockingQueue<>();
    private final Queue<PipelineCall> calls = new ArrayDeque<>();

    Stream(StreamObserver<PipelineResponse> responses) {
      this.responses = responses;
    }

    @Nullable String authorization() {
      return authorization;
    }

    /** The calls of the next message. */
    List<PipelineCall> message() throws InterruptedException {
      return next(messages);
    }

    /** The next call, whatever the messages. */
    PipelineCall call() throws InterruptedException {
      while (calls.isEmpty()) {
        calls.addAll(message());
      }
      return calls.remove();
    }

    void reply(PipelineReply reply) {
      responses.onNext(PipelineResponse.newBuilder().addReplies(reply).build());
    }

    void end(RuntimeException status) {
      responses.onError(status);
    }

    @Override
    public void onNext(PipelineRequest request) {
      messages.add(request.getCallsList());
    }

    @Override
    public void onError(Throwable left) {}

    @Override
    public void onCompleted() {}
  }

  private final class Service extends PipelineServiceGrpc.PipelineServiceImplBase {
    @Override
    public StreamObserver<PipelineRequest> pipeline(StreamObserver<PipelineResponse> responses) {
      Stream stream = new Stream(responses);
      opened.incrementAndGet();
      streams.add(stream);
      return stream;
    }
  }

  private static final class Authorization implements ServerInterceptor {
    @Override
    public <Q, A> ServerCall.Listener<Q> interceptCall(
        ServerCall<Q, A> call, Metadata headers, ServerCallHandler<Q, A> next) {
      String shown =
          headers.get(Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER));
      return Contexts.interceptCall(
          Context.current().withValue(AUTHORIZATION, shown), call, headers, next);
    }
  }
}
