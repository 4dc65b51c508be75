package dev.turntree.testing;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.GeneralSecurityException;
import java.security.Key;
import java.security.KeyStore;
import java.security.cert.Certificate;
import java.util.Base64;
import java.util.List;

/**
 * A certificate for this machine, which vouches for itself as a server and as a client, and its
 * key; both in PEM.
 */
public record Credentials(Path certificate, Path key) {
  private static final String PASSWORD = "turntree";

  /** Makes new ones in a folder. */
  public static Credentials create(Path folder, String name) {
    Path store = folder.resolve(name + ".p12");
    run(
        List.of(
            Path.of(System.getProperty("java.home"), "bin", "keytool").toString(),
            "-genkeypair",
            "-keystore",
            store.toString(),
            "-storepass",
            PASSWORD,
            "-alias",
            name,
            "-keyalg",
            "EC",
            "-dname",
            "CN=" + name,
            "-ext",
            "SAN=IP:127.0.0.1",
            "-ext",
            "BC=ca:true"));
    try (InputStream input = Files.newInputStream(store)) {
      KeyStore entries = KeyStore.getInstance("PKCS12");
      entries.load(input, PASSWORD.toCharArray());
      Certificate certificate = entries.getCertificate(name);
      Key key = entries.getKey(name, PASSWORD.toCharArray());
      return new Credentials(
          write(folder.resolve(name + ".pem"), "CERTIFICATE", certificate.getEncoded()),
          write(folder.resolve(name + ".key"), "PRIVATE KEY", key.getEncoded()));
    } catch (IOException error) {
      throw new UncheckedIOException(error);
    } catch (GeneralSecurityException error) {
      throw new IllegalStateException(error);
    }
  }

  private static Path write(Path file, String label, byte[] der) throws IOException {
    byte[] lineEnd = {'\n'};
    String text = Base64.getMimeEncoder(64, lineEnd).encodeToString(der);
    String begin = "-----BEGIN " + label + "-----\n";
    return Files.writeString(file, begin + text + "\n-----END " + label + "-----\n");
  }

  /** Makes an API key of a role in a file of keys, and returns it. */
  public static String createApiKey(Path keysFile, String role) {
    String shown =
        run(
            List.of(
                Server.command(),
                "keys",
                "create",
                "--keys-file",
                keysFile.toString(),
                "--name",
                role,
                "--role",
                role));
    String[] words = shown.strip().split("\\s+");
    return words[words.length - 1];
  }

  /** Takes an API key out of a file of keys; its name is that of its role. */
  public static void revokeApiKey(Path keysFile, String name) {
    run(List.of(Server.command(), "keys", "revoke", "--keys-file", keysFile.toString(), name));
  }

  private static String run(List<String> command) {
    try {
      Process process = new ProcessBuilder(command).redirectErrorStream(true).start();
      String shown = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
      if (process.waitFor() != 0) {
        throw new IllegalStateException(command.get(0) + " failed: " + shown);
      }
      return shown;
    } catch (IOException error) {
      throw new UncheckedIOException(error);
    } catch (InterruptedException error) {
      Thread.currentThread().interrupt();
      throw new IllegalStateException(error);
    }
  }
}
