package dev.turntree.example;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.turntree.testing.Server;
import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.charset.StandardCharsets;
import java.nio.file.FileSystem;
import java.nio.file.FileSystems;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import javax.tools.ToolProvider;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class DocumentsTest {
  private static final Pattern BLOCK = Pattern.compile("```java\n(.*?)```", Pattern.DOTALL);
  private static final Pattern PRINTED = Pattern.compile("System.out.println\\(.*\\); // (.*)");

  /** The example shows a conversation stored, branched, streamed and accounted for. */
  @Test
  void example() {
    var out = new ByteArrayOutputStream();
    try (Server server = Server.start()) {
      Conversation.run(server.address(), new PrintStream(out, true, StandardCharsets.UTF_8));
    }
    String shown = out.toString(StandardCharsets.UTF_8);
    assertTrue(shown.startsWith("turn 1 has 2 items\nturn 2 has 1 items\n"), shown);
    assertTrue(shown.contains("When was it built?") && !shown.contains("What state"), shown);
    assertTrue(shown.endsWith("53 tokens in 1 turns\n"), shown);
  }

  /** The jars of classes, sources and docs hold the licence. This module's are made afterwards. */
  @Test
  void licence() throws Exception {
    String text = Files.readString(Path.of("..", "LICENSE"));
    var others = FileSystems.getDefault().getPathMatcher("glob:../*/target/*.jar");
    List<Path> jars;
    try (Stream<Path> files = Files.walk(Path.of(".."), 3)) {
      jars =
          files
              .filter(file -> others.matches(file) && !file.startsWith(Path.of("..", "example")))
              .toList();
    }
    for (String kind : List.of("", "-sources", "-javadoc")) {
      Pattern client = Pattern.compile("turntree-client-[0-9.]+" + kind + "\\.jar$");
      assertTrue(jars.stream().anyMatch(jar -> client.matcher(jar.toString()).find()), kind);
    }
    for (Path jar : jars) {
      try (FileSystem packed = FileSystems.newFileSystem(jar)) {
        Path licence = packed.getPath("META-INF", "LICENSE");
        assertTrue(Files.exists(licence), jar::toString);
        assertEquals(text, Files.readString(licence), jar::toString);
      }
    }
  }

  /** The blocks of the README compile, run one after the other, and print what they say. */
  @Test
  void readme(@TempDir Path folder) throws Exception {
    // Each framework has a class of its own, because their classes have the same names.
    String[] sections = Files.readString(Path.of("..", "README.md")).split("\n## With ");
    assertEquals(3, sections.length);
    run(folder.resolve("client"), sections[0], "");
    String connect =
        "import dev.turntree.TurntreeClient;\n"
            + "var client = TurntreeClient.connect(\"localhost:50051\");\n";
    for (int index = 1; index < sections.length; index++) {
      boolean isSpring = sections[index].startsWith("Spring");
      String model = isSpring ? "SpringAi" : "LangChain4j";
      String given = connect + "var model = new dev.turntree.example.Answers." + model + "();\n";
      run(folder.resolve(model), sections[index], given);
    }
  }

  private void run(Path folder, String text, String before) throws Exception {
    List<String> expected = new ArrayList<>();
    StringBuilder imports = new StringBuilder();
    StringBuilder body = new StringBuilder();
    Matcher blocks = BLOCK.matcher(text);
    StringBuilder lines = new StringBuilder(before);
    while (blocks.find()) {
      lines.append(blocks.group(1));
    }
    for (String line : lines.toString().split("\n")) {
      (line.startsWith("import ") ? imports : body).append(line).append('\n');
      Matcher printed = PRINTED.matcher(line);
      if (printed.find()) {
        expected.add(printed.group(1));
      }
    }
    assertTrue(expected.size() >= 3, expected.toString());
    try (Server server = Server.start()) {
      // A token is sent to this machine without TLS too, so the block about it runs here.
      String code =
          (imports
                  + "public class Readme {\npublic static void run() throws Exception {\n"
                  + body
                  + "}\n}\n")
              .replace("localhost:50051", server.address())
              .replace("turntrees://memory.example:443?ca_file=ca.pem", server.address());
      Path source = Files.createDirectory(folder).resolve("Readme.java");
      Files.writeString(source, code);
      String classPath = System.getProperty("java.class.path");
      var compiler = ToolProvider.getSystemJavaCompiler();
      int failed =
          compiler.run(
              null, null, null, "-cp", classPath, "-d", folder.toString(), source.toString());
      assertEquals(0, failed, code);
      var out = new ByteArrayOutputStream();
      PrintStream stdout = System.out;
      System.setOut(new PrintStream(out, true, StandardCharsets.UTF_8));
      try (var loader =
          new URLClassLoader(new URL[] {folder.toUri().toURL()}, getClass().getClassLoader())) {
        loader.loadClass("Readme").getMethod("run").invoke(null);
      } finally {
        System.setOut(stdout);
      }
      assertEquals(expected, out.toString(StandardCharsets.UTF_8).lines().toList());
    }
  }
}
