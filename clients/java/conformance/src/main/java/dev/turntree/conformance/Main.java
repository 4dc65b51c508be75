package dev.turntree.conformance;

import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.protobuf.Message;
import com.google.protobuf.MessageOrBuilder;
import com.google.protobuf.util.JsonFormat;
import dev.turntree.ResponseStream;
import dev.turntree.TurntreeClient;
import dev.turntree.TurntreeException;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.HashMap;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Stream;

/** Reads a step a line, makes the call by the public client, and writes a line with the answer. */
public final class Main {
  private static final JsonFormat.Printer PRINTER =
      JsonFormat.printer().preservingProtoFieldNames().omittingInsignificantWhitespace();

  private final TurntreeClient client;
  private final Map<String, ResponseStream<?>> streams = new HashMap<>();

  private Main(TurntreeClient client) {
    this.client = client;
  }

  /** Answers every line of stdin by a line on stdout. */
  public static void main(String[] arguments) throws IOException {
    var input = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    var output = new PrintStream(System.out, true, StandardCharsets.UTF_8);
    try (TurntreeClient client = TurntreeClient.connect(arguments[0])) {
      Main program = new Main(client);
      for (String line = input.readLine(); line != null; line = input.readLine()) {
        output.println(program.play(JsonParser.parseString(line).getAsJsonObject()));
      }
    }
  }

  private JsonObject play(JsonObject step) {
    JsonObject answer = new JsonObject();
    int take = step.has("take") ? step.get("take").getAsInt() : Integer.MAX_VALUE;
    try {
      if (step.has("next")) {
        read(stream(step.get("next").getAsString()), take, answer);
      } else if (step.has("stop")) {
        stream(step.get("stop").getAsString()).close();
        answer.add("stopped", step.get("stop"));
      } else {
        made(call(step), step, take, answer);
      }
    } catch (TurntreeException error) {
      answer.add("error", json(error));
    } catch (ReflectiveOperationException | IOException | IllegalArgumentException error) {
      answer.addProperty("unsupported", error.toString());
    }
    return answer;
  }

  private void made(Object called, JsonObject step, int take, JsonObject answer)
      throws IOException {
    if (!(called instanceof ResponseStream<?> responses)) {
      answer.add("response", json((MessageOrBuilder) called));
    } else if (step.has("start")) {
      streams.put(step.get("start").getAsString(), responses);
      answer.add("started", step.get("start"));
    } else {
      read(responses, take, answer);
      responses.close();
    }
  }

  private Object call(JsonObject step) throws ReflectiveOperationException, IOException {
    String rpc = step.get("call").getAsString().split("/")[1];
    String name = Character.toLowerCase(rpc.charAt(0)) + rpc.substring(1);
    Optional<Method> found =
        Stream.of(TurntreeClient.class.getMethods())
            .filter(m -> m.getName().equals(name))
            .findAny();
    Method method = found.orElseThrow(() -> new NoSuchMethodException(name));
    var request =
        (Message.Builder) method.getParameterTypes()[0].getMethod("newBuilder").invoke(null);
    JsonFormat.parser().merge(step.get("request").toString(), request);
    TurntreeClient chosen = client;
    if (step.has("timeout_s")) {
      long millis = Math.round(step.get("timeout_s").getAsDouble() * 1000);
      chosen = client.withTimeout(Duration.ofMillis(millis));
    }
    try {
      return method.invoke(chosen, request.build());
    } catch (InvocationTargetException thrown) {
      if (thrown.getCause() instanceof TurntreeException error) {
        throw error;
      }
      throw thrown;
    }
  }

  private ResponseStream<?> stream(String name) {
    ResponseStream<?> found = streams.get(name);
    if (found == null) {
      throw new IllegalArgumentException("there is no stream " + name);
    }
    return found;
  }

  private static void read(ResponseStream<?> responses, int take, JsonObject answer)
      throws IOException {
    JsonArray read = new JsonArray();
    answer.add("responses", read);
    while (read.size() < take && responses.hasNext()) {
      read.add(json((MessageOrBuilder) responses.next()));
    }
  }

  private static JsonElement json(MessageOrBuilder message) throws InvalidProtocolBufferException {
    return JsonParser.parseString(PRINTER.print(message));
  }

  private static JsonObject json(TurntreeException error) {
    JsonObject shown = new JsonObject();
    shown.addProperty("code", error.code().name());
    shown.addProperty("reason", error.reason().name());
    JsonObject facts = new JsonObject();
    error.facts().forEach(facts::addProperty);
    shown.add("facts", facts);
    shown.addProperty("message", error.getMessage());
    return shown;
  }
}
