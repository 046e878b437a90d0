package io.annals.axon;

import com.google.protobuf.Any;
import com.google.protobuf.Timestamp;
import com.google.rpc.ErrorInfo;
import io.annals.v1.AppendCondition.Builder;
import io.annals.v1.AppendConflict;
import io.annals.v1.AppendRequest;
import io.annals.v1.AppendResponse;
import io.annals.v1.EventStoreServiceGrpc;
import io.annals.v1.EventStoreServiceGrpc.EventStoreServiceStub;
import io.annals.v1.GetInfoRequest;
import io.annals.v1.GetInfoResponse;
import io.annals.v1.ReadRequest;
import io.annals.v1.ReadResponse;
import io.annals.v1.SubscribeRequest;
import io.annals.v1.SubscribeResponse;
import io.annals.v1.View;
import io.grpc.Channel;
import io.grpc.protobuf.StatusProto;
import io.grpc.stub.StreamObserver;
import jakarta.annotation.Nonnull;
import jakarta.annotation.Nullable;
import java.time.Duration;
import java.time.Instant;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.function.Function;
import org.axonframework.common.infra.ComponentDescriptor;
import org.axonframework.eventsourcing.eventstore.AppendCondition;
import org.axonframework.eventsourcing.eventstore.AppendEventsTransactionRejectedException;
import org.axonframework.eventsourcing.eventstore.ConsistencyMarker;
import org.axonframework.eventsourcing.eventstore.EmptyAppendTransaction;
import org.axonframework.eventsourcing.eventstore.EventStorageEngine;
import org.axonframework.eventsourcing.eventstore.EventStoreException;
import org.axonframework.eventsourcing.eventstore.GlobalIndexConsistencyMarker;
import org.axonframework.eventsourcing.eventstore.GlobalIndexPosition;
import org.axonframework.eventsourcing.eventstore.SourcingCondition;
import org.axonframework.eventsourcing.eventstore.TaggedEventMessage;
import org.axonframework.messaging.core.Context;
import org.axonframework.messaging.core.MessageStream;
import org.axonframework.messaging.core.unitofwork.ProcessingContext;
import org.axonframework.messaging.eventhandling.EventMessage;
import org.axonframework.messaging.eventhandling.TerminalEventMessage;
import org.axonframework.messaging.eventhandling.conversion.EventConverter;
import org.axonframework.messaging.eventhandling.processing.streaming.token.TrackingToken;
import org.axonframework.messaging.eventstreaming.StreamingCondition;

/**
 * Stores events in Annals, with dynamic consistency boundaries: the criteria of an append are checked
 * by the server in the step that stores the events. Events have tags and belong to no stream.
 */
public class AnnalsEventStorageEngine implements EventStorageEngine {
  /** How long an append may wait for its answer, and sourcing may take, a restart of the server included. */
  public static final Duration DEFAULT_TIMEOUT = Duration.ofSeconds(30);

  private final EventStoreServiceStub store;
  final EventMapper mapper;
  private final Duration timeout;

  public AnnalsEventStorageEngine(Channel channel, EventConverter converter) {
    this(channel, converter, "application/json", DEFAULT_TIMEOUT);
  }

  /**
   * @param channel as {@link AnnalsChannel} opens it; whoever opened it closes it
   * @param contentType what the converter makes of a payload that is neither text nor bytes
   * @param timeout of an append, of sourcing, and of the questions for tokens
   */
  public AnnalsEventStorageEngine(
      Channel channel, EventConverter converter, String contentType, Duration timeout) {
    this.store = EventStoreServiceGrpc.newStub(channel);
    this.mapper = new EventMapper(converter, contentType);
    this.timeout = timeout;
  }

  @Override
  public CompletableFuture<AppendTransaction<?>> appendEvents(
      @Nonnull AppendCondition condition,
      @Nullable ProcessingContext context,
      @Nonnull List<TaggedEventMessage<?>> events) {
    if (events.isEmpty()) return CompletableFuture.completedFuture(EmptyAppendTransaction.INSTANCE);
    try {
      return CompletableFuture.completedFuture(new Transaction(condition, requestFor(condition, events)));
    } catch (RuntimeException refused) {
      return CompletableFuture.failedFuture(refused);
    }
  }

  /** What an append with this condition is for the server. */
  AppendRequest requestFor(AppendCondition condition, List<TaggedEventMessage<?>> events) {
    AppendRequest.Builder request = AppendRequest.newBuilder();
    events.forEach(tagged -> request.addEvents(mapper.toStore(tagged.event(), tagged.tags())));
    ConsistencyMarker marker = condition.consistencyMarker();
    if (marker == ConsistencyMarker.INFINITY) return request.build();
    Builder held = request.addConditionsBuilder().setQuery(EventMapper.query(condition.criteria()));
    held.setAfter(Math.max(0, GlobalIndexConsistencyMarker.position(marker)));
    if (marker instanceof PositionMarker read) request.setEpoch(read.epoch);
    return request.build();
  }

  /** How far the caller has seen with this append. */
  ConsistencyMarker markerAfter(AppendCondition condition, AppendResponse stored) {
    return new GlobalIndexConsistencyMarker(stored.getLastPosition());
  }

  @Override
  public MessageStream<EventMessage> source(
      @Nonnull SourcingCondition condition, @Nullable ProcessingContext context) {
    long after = Math.max(0, GlobalIndexPosition.toIndex(condition.start()));
    ReadRequest.Builder request = ReadRequest.newBuilder().setQuery(EventMapper.query(condition.criteria()));
    if (after > 0) request.setFromPosition(after + 1);
    EventStream<ReadRequest, ReadResponse> events = new EventStream<>(mapper, (stream, part) -> {
      if (part.hasBatch()) stream.add(part.getBatch().getEventsList(), part.getEpoch());
      if (!part.hasEnd()) return;
      ConsistencyMarker seen = new PositionMarker(part.getEnd().getAfter(), stream.epochIs(part.getEpoch()));
      stream.offer(TerminalEventMessage.INSTANCE, Context.with(ConsistencyMarker.RESOURCE_KEY, seen));
      stream.end();
    });
    timed().read(request.build(), events);
    return events;
  }

  @Override
  public MessageStream<EventMessage> stream(
      @Nonnull StreamingCondition condition, @Nullable ProcessingContext context) {
    SubscribeRequest.Builder request =
        SubscribeRequest.newBuilder().setQuery(EventMapper.query(condition.criteria()));
    TrackingToken token = condition.position();
    if (token == TrackingToken.LATEST) request.setFromEnd(com.google.protobuf.Empty.getDefaultInstance());
    else if (token != null) {
      request.setAfterPosition(Math.max(0, token.position().orElseThrow(
          () -> new IllegalArgumentException("A token without a position: " + token))));
      if (token instanceof AnnalsTrackingToken ours) request.setEpoch(ours.getEpoch());
    }
    EventStream<SubscribeRequest, SubscribeResponse> events = new EventStream<>(mapper, (stream, part) -> {
      stream.epochIs(part.getEpoch());
      if (part.hasBatch()) stream.add(part.getBatch().getEventsList(), "");
    });
    store.withWaitForReady().subscribe(request.build(), events);
    return events;
  }

  @Override
  public CompletableFuture<TrackingToken> firstToken(@Nullable ProcessingContext context) {
    return info().thenApply(info -> new AnnalsTrackingToken(0, info.getEpoch()));
  }

  @Override
  public CompletableFuture<TrackingToken> latestToken(@Nullable ProcessingContext context) {
    return info().thenApply(info -> new AnnalsTrackingToken(info.getHead(), info.getEpoch()));
  }

  /** By the time at which the server stored the events, which is that of the messages or later. */
  @Override
  public CompletableFuture<TrackingToken> tokenAt(
      @Nonnull Instant at, @Nullable ProcessingContext context) {
    Timestamp from = EventMapper.timestamp(at);
    ReadRequest request =
        ReadRequest.newBuilder().setFromTime(from).setLimit(1).setView(View.VIEW_HEADERS).build();
    Answer<ReadResponse> first = new Answer<>();
    timed().read(request, first);
    return first.thenApply(part -> {
      long position = part.hasBatch() ? part.getBatch().getEvents(0).getPosition() - 1 : part.getEnd().getHead();
      return new AnnalsTrackingToken(position, part.getEpoch());
    });
  }

  @Override
  public void describeTo(@Nonnull ComponentDescriptor descriptor) {
    descriptor.describeProperty("server", store.getChannel().authority());
  }

  EventStoreServiceStub timed() {
    return store.withWaitForReady().withDeadlineAfter(timeout.toMillis(), TimeUnit.MILLISECONDS);
  }

  private CompletableFuture<GetInfoResponse> info() {
    Answer<GetInfoResponse> info = new Answer<>();
    timed().getInfo(GetInfoRequest.getDefaultInstance(), info);
    return info;
  }

  /** Nothing is sent before the commit. The events have ids, so that the channel may repeat it. */
  private final class Transaction implements AppendTransaction<AppendResponse> {
    private final AppendCondition condition;
    private final AppendRequest request;
    private final AtomicBoolean finished = new AtomicBoolean();

    Transaction(AppendCondition condition, AppendRequest request) {
      this.condition = condition;
      this.request = request;
    }

    @Override
    public CompletableFuture<AppendResponse> commit(@Nullable ProcessingContext context) {
      if (finished.getAndSet(true)) {
        return CompletableFuture.failedFuture(new IllegalStateException("Already committed or rolled back"));
      }
      Answer<AppendResponse> answer = new Answer<>(this::translated);
      timed().append(request, answer);
      // Outside a unit of work, the framework's event store looks neither at this future nor at its
      // failure: there the commit itself waits and throws.
      if (context == null) answer.join();
      return answer;
    }

    private Throwable translated(Throwable error) {
      if (!isConflict(error)) return new EventStoreException("The append failed: " + error.getMessage(), error);
      return AppendEventsTransactionRejectedException
          .conflictingEventsDetected(condition.consistencyMarker()).initCause(error);
    }

    @Override
    public void rollback(@Nullable ProcessingContext context) {
      finished.set(true);
    }

    @Override
    public CompletableFuture<ConsistencyMarker> afterCommit(
        AppendResponse stored, @Nullable ProcessingContext context) {
      return CompletableFuture.completedFuture(markerAfter(condition, stored));
    }
  }

  /** Told by the details, not by the code: to read again and to decide again helps. */
  private static boolean isConflict(Throwable error) {
    com.google.rpc.Status status = StatusProto.fromThrowable(error);
    if (status == null) return false;
    return status.getDetailsList().stream().anyMatch(
        detail -> detail.is(AppendConflict.class) || reason(detail).equals("EPOCH_MISMATCH"));
  }

  private static String reason(Any detail) {
    try {
      return detail.is(ErrorInfo.class) ? detail.unpack(ErrorInfo.class).getReason() : "";
    } catch (com.google.protobuf.InvalidProtocolBufferException unreadable) {
      return "";
    }
  }

  /** The position up to which a read has seen its criteria, and its epoch. */
  private static final class PositionMarker extends GlobalIndexConsistencyMarker {
    private final String epoch;

    PositionMarker(long position, String epoch) {
      super(position);
      this.epoch = epoch;
    }
  }

  /** The first answer of a call. */
  private static final class Answer<A> extends CompletableFuture<A> implements StreamObserver<A> {
    private final Function<Throwable, Throwable> translated;

    Answer() {
      this(error -> new EventStoreException("Annals did not answer: " + error.getMessage(), error));
    }

    Answer(Function<Throwable, Throwable> translated) {
      this.translated = translated;
    }

    @Override
    public void onNext(A answer) {
      complete(answer);
    }

    @Override
    public void onError(Throwable error) {
      completeExceptionally(translated.apply(error));
    }

    @Override
    public void onCompleted() {
      completeExceptionally(new EventStoreException("The call ended without an answer"));
    }
  }
}
