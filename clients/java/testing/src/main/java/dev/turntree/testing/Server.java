package dev.turntree.testing;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.concurrent.TimeUnit;

/** A running {@code turntree serve}: on a file of its own, or on one that another server left. */
public final class Server implements AutoCloseable {
  private final Path folder;
  private final List<String> options;
  private Process process;
  private String address;

  private Server(Path folder, String listen, List<String> options) {
    this.folder = folder;
    this.options = options;
    this.process = launch(listen);
    this.address = announced();
  }

  /** Starts a server on a new file in a folder of its own. */
  public static Server start(String... options) {
    try {
      return new Server(
          Files.createTempDirectory("turntree-java"), "127.0.0.1:0", List.of(options));
    } catch (IOException error) {
      throw new UncheckedIOException(error);
    }
  }

  /** The command of the environment variable TURNTREE. */
  public static String command() {
    String command = System.getenv("TURNTREE");
    return command == null ? "turntree" : command;
  }

  private Process launch(String listen) {
    List<String> words = new ArrayList<>(List.of(command(), "serve", "--listen", listen));
    words.addAll(List.of("--db", folder.resolve("conversations.db").toString()));
    words.addAll(options);
    ProcessBuilder builder = new ProcessBuilder(words);
    builder.environment().remove("TURNTREE_TOKEN");
    builder.redirectError(ProcessBuilder.Redirect.appendTo(folder.resolve("server.log").toFile()));
    try {
      return builder.start();
    } catch (IOException error) {
      throw new UncheckedIOException(error);
    }
  }

  private String announced() {
    try {
      var input = new InputStreamReader(process.getInputStream(), StandardCharsets.UTF_8);
      String line = new BufferedReader(input).readLine();
      String[] words = line == null ? new String[0] : line.split(" ");
      if (words.length < 5 || !words[2].equals("listening")) {
        process.destroyForcibly();
        throw new IllegalStateException(
            "the server announced "
                + line
                + " and logged "
                + Files.readString(folder.resolve("server.log")));
      }
      return words[4];
    } catch (IOException error) {
      throw new UncheckedIOException(error);
    }
  }

  /** HOST:PORT where it listens. */
  public String address() {
    return address;
  }

  /** Ends the server as a crash would. */
  public void kill() {
    process.destroyForcibly();
    try {
      process.waitFor(30, TimeUnit.SECONDS);
    } catch (InterruptedException interrupted) {
      Thread.currentThread().interrupt();
    }
  }

  /** After {@link #kill}, starts another process on the same file and address. */
  public void startAgain() {
    process = launch(address);
    address = announced();
  }

  /** Ends the server, and removes its file. */
  @Override
  public void close() {
    kill();
    try (var paths = Files.walk(folder)) {
      for (Path path : paths.sorted(Comparator.reverseOrder()).toList()) {
        Files.delete(path);
      }
    } catch (IOException error) {
      throw new UncheckedIOException(error);
    }
  }
}
