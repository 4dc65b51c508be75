package dev.turntree.memory;

import dev.turntree.memory.PlainMessage.Assistant;
import dev.turntree.memory.PlainMessage.Instructions;
import dev.turntree.memory.PlainMessage.Text;
import dev.turntree.memory.PlainMessage.User;
import java.util.List;
import java.util.Optional;

/** The smallest framework: a message is {@code user …}, {@code assistant …} or other words. */
final class Words implements Dialect<String> {
  @Override
  public String name() {
    return "words/1";
  }

  @Override
  public boolean joinsResults() {
    return true;
  }

  @Override
  public PlainMessage plain(String message) {
    if (message.startsWith("user ")) {
      return new User(List.of(new Text(message.substring(5))));
    }
    return message.startsWith("assistant ")
        ? new Assistant(message.substring(10), List.of())
        : new Instructions("developer", message);
  }

  @Override
  public Optional<String> message(PlainMessage plain) {
    if (plain instanceof User user && user.parts().get(0) instanceof Text text) {
      return Optional.of("user " + text.text());
    }
    return plain instanceof Assistant answer && answer.text() != null
        ? Optional.of("assistant " + answer.text())
        : Optional.empty();
  }

  @Override
  public String json(String message) {
    return "\"" + message + "\"";
  }

  @Override
  public String fromJson(String json) {
    return json.substring(1, json.length() - 1);
  }
}
