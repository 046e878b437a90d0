package io.annals.axon;

import io.annals.v1.RecordedEvent;
import io.grpc.stub.ClientCallStreamObserver;
import io.grpc.stub.ClientResponseObserver;
import java.util.List;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.BiConsumer;
import org.axonframework.eventsourcing.eventstore.EventStoreException;
import org.axonframework.messaging.core.Context;
import org.axonframework.messaging.core.QueueMessageStream;
import org.axonframework.messaging.eventhandling.EventMessage;

/**
 * The events of one call, {@code Read} or {@code Subscribe}. The next batch is asked for when half of
 * the last one is taken, so that a slow reader holds about two batches in memory.
 */
final class EventStream<Q, A> extends QueueMessageStream<EventMessage>
    implements ClientResponseObserver<Q, A> {
  private final EventMapper mapper;
  private final BiConsumer<EventStream<Q, A>, A> receiver;
  private final AtomicInteger waiting = new AtomicInteger();
  private int added;
  private volatile int half;
  private volatile ClientCallStreamObserver<Q> call;
  private volatile String epoch = "";
  private volatile boolean ended;

  EventStream(EventMapper mapper, BiConsumer<EventStream<Q, A>, A> receiver) {
    this.mapper = mapper;
    this.receiver = receiver;
    onConsumeCallback(() -> {
      if (waiting.decrementAndGet() == half) call.request(1);
    });
  }

  @Override
  public void beforeStart(ClientCallStreamObserver<Q> requests) {
    call = requests;
    call.disableAutoRequestWithInitial(1);
  }

  @Override
  public void onNext(A answer) {
    added = 0;
    receiver.accept(this, answer);
    if (added == 0) call.request(1);
  }

  /** Events of a batch; {@code sent} is the epoch of the answer, if it has one. */
  void add(List<RecordedEvent> events, String sent) {
    epochIs(sent);
    added = events.size();
    half = added / 2;
    waiting.addAndGet(added);
    for (RecordedEvent event : events) {
      offer(mapper.fromStore(event), EventMapper.contextOf(event, epoch));
    }
  }

  String epochIs(String sent) {
    if (!sent.isEmpty()) epoch = sent;
    return epoch;
  }

  /** A finite stream has everything; without this, the end of the call is an error. */
  void end() {
    ended = true;
  }

  @Override
  public void onError(Throwable error) {
    completeExceptionally(new EventStoreException("Annals ended the stream: " + error.getMessage(), error));
  }

  @Override
  public void onCompleted() {
    if (ended) complete();
    else completeExceptionally(new EventStoreException("The stream was cut off"));
  }

  @Override
  public void close() {
    call.cancel("closed by its reader", null);
    super.close();
  }
}
