package dev.turntree.springai;

import dev.turntree.memory.Dialect;
import dev.turntree.memory.PlainMessage;
import java.util.Optional;

/** The events of Spring AI's sessions: its messages, and what an event has beside them. */
final class EventDialect implements Dialect<Event> {
  private final SpringAiDialect messages = new SpringAiDialect();

  @Override
  public String name() {
    return TurntreeSessionRepository.DIALECT;
  }

  @Override
  public boolean joinsResults() {
    return messages.joinsResults();
  }

  @Override
  public PlainMessage plain(Event event) {
    return messages.plain(event.message());
  }

  @Override
  public Optional<Event> message(PlainMessage plain) {
    return messages.message(plain).map(message -> new Event(message, null));
  }

  @Override
  public String json(Event event) {
    return event.json();
  }

  @Override
  public Event fromJson(String json) {
    return Event.fromJson(json);
  }
}
