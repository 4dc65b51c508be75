package dev.turntree.memory;

import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;

/** Stands between a client and a server, and keeps answers to itself when it is told to. */
final class Relay implements AutoCloseable {
  private final String target;
  private final ServerSocket listening;
  private final List<Socket> sockets = new CopyOnWriteArrayList<>();
  private volatile boolean isHolding;

  Relay(String target) throws IOException {
    this.target = target;
    listening = new ServerSocket(0, 50, InetAddress.getLoopbackAddress());
    start(this::accept);
  }

  String address() {
    return "127.0.0.1:" + listening.getLocalPort();
  }

  /** From now on no answer comes through, until {@link #cut}. */
  void holdAnswers() {
    isHolding = true;
  }

  /** Ends the connections, with what was held back. The next ones work. */
  void cut() {
    sockets.forEach(Relay::close);
    sockets.clear();
    isHolding = false;
  }

  private void accept() {
    String[] place = target.split(":");
    while (!listening.isClosed()) {
      try {
        Socket client = listening.accept();
        sockets.add(client);
        Socket server = new Socket(place[0], Integer.parseInt(place[1]));
        sockets.add(server);
        start(() -> copy(client, server, false));
        start(() -> copy(server, client, true));
      } catch (IOException closed) {
        // the server is not there, or this is closed: whoever waits for it is told
      }
    }
  }

  private void copy(Socket from, Socket to, boolean isAnswers) {
    byte[] buffer = new byte[65_536];
    try {
      InputStream in = from.getInputStream();
      OutputStream out = to.getOutputStream();
      for (int count = in.read(buffer); count >= 0; count = in.read(buffer)) {
        if (!isAnswers || !isHolding) {
          out.write(buffer, 0, count);
        }
      }
    } catch (IOException cut) {
      // the other direction ends too
    } finally {
      close(from);
      close(to);
    }
  }

  private static void start(Runnable work) {
    Thread thread = new Thread(work);
    thread.setDaemon(true);
    thread.start();
  }

  private static void close(AutoCloseable open) {
    try {
      open.close();
    } catch (Exception ignored) {
      // it is closed
    }
  }

  @Override
  public void close() {
    close(listening);
    cut();
  }
}
