package dev.turntree;

import com.google.protobuf.Message;
import java.util.Iterator;
import java.util.NoSuchElementException;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/** The pages of a list, each read when it is asked for. */
final class Pages<Q extends Message, A extends Message> implements Iterator<A> {
  private final Function<Q, A> list;
  private @Nullable Q request;

  Pages(Function<Q, A> list, Q first) {
    this.list = list;
    this.request = first;
  }

  @Override
  public boolean hasNext() {
    return request != null;
  }

  @Override
  @SuppressWarnings("unchecked")
  public A next() {
    Q current = request;
    if (current == null) {
      throw new NoSuchElementException("there are no more pages");
    }
    A page = list.apply(current);
    var next = page.getDescriptorForType().findFieldByName("next_page_token");
    Object token = page.getField(next);
    var field = current.getDescriptorForType().findFieldByName("page_token");
    request = token.equals("") ? null : (Q) current.toBuilder().setField(field, token).build();
    return page;
  }
}
