package dev.turntree.conformance;

import io.grpc.CallOptions;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.MethodDescriptor;
import io.grpc.stub.ClientCalls;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;

/** The bare echo of the benchmarks, by grpc-java without any client of turntree. */
final class Echo implements AutoCloseable {
  private static final MethodDescriptor<byte[], byte[]> BACK =
      MethodDescriptor.newBuilder(new Raw(), new Raw())
          .setType(MethodDescriptor.MethodType.UNARY)
          .setFullMethodName("benchmarks.Echo/Back")
          .build();

  private final ManagedChannel channel;

  Echo(String address) {
    channel = Grpc.newChannelBuilder(address, InsecureChannelCredentials.create()).build();
  }

  void call(byte[] request) {
    byte[] reply = ClientCalls.blockingUnaryCall(channel, BACK, CallOptions.DEFAULT, request);
    if (reply.length != request.length) {
      throw new IllegalStateException("the echo says something else");
    }
  }

  @Override
  public void close() {
    channel.shutdownNow();
  }

  /** Bytes as they are. */
  private static final class Raw implements MethodDescriptor.Marshaller<byte[]> {
    @Override
    public InputStream stream(byte[] value) {
      return new ByteArrayInputStream(value);
    }

    @Override
    public byte[] parse(InputStream stream) {
      try {
        return stream.readAllBytes();
      } catch (IOException error) {
        throw new UncheckedIOException(error);
      }
    }
  }
}
