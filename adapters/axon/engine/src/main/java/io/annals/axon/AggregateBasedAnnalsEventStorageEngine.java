package io.annals.axon;

import static org.axonframework.eventsourcing.eventstore.AggregateBasedEventStorageEngineUtils.assertValidTags;

import io.annals.v1.AppendRequest;
import io.annals.v1.AppendResponse;
import io.annals.v1.NewEvent;
import io.annals.v1.ReadRequest;
import io.annals.v1.ReadResponse;
import io.annals.v1.RecordedEvent;
import io.grpc.Channel;
import jakarta.annotation.Nonnull;
import jakarta.annotation.Nullable;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentSkipListMap;
import java.util.function.BiConsumer;
import java.util.function.BinaryOperator;
import java.util.stream.Collectors;
import org.axonframework.eventsourcing.eventstore.AggregateBasedConsistencyMarker;
import org.axonframework.eventsourcing.eventstore.AggregateSequenceNumberPosition;
import org.axonframework.eventsourcing.eventstore.AppendCondition;
import org.axonframework.eventsourcing.eventstore.ConsistencyMarker;
import org.axonframework.eventsourcing.eventstore.Position;
import org.axonframework.eventsourcing.eventstore.SourcingCondition;
import org.axonframework.eventsourcing.eventstore.TaggedEventMessage;
import org.axonframework.messaging.core.Context;
import org.axonframework.messaging.core.MessageStream;
import org.axonframework.messaging.core.QualifiedName;
import org.axonframework.messaging.core.unitofwork.ProcessingContext;
import org.axonframework.messaging.eventhandling.EventMessage;
import org.axonframework.messaging.eventhandling.TerminalEventMessage;
import org.axonframework.messaging.eventhandling.conversion.EventConverter;
import org.axonframework.messaging.eventstreaming.EventCriterion;
import org.axonframework.messaging.eventstreaming.Tag;

/**
 * Stores the events of an aggregate in a stream of its own, {@code Key-value} of the one tag they have.
 * An append requires of each of its streams the version that was sourced, and of one that was not
 * sourced that it has no events. Events without a tag belong to no stream.
 */
public class AggregateBasedAnnalsEventStorageEngine extends AnnalsEventStorageEngine {
  private static final String ONE_TAG = "Each criterion of an aggregate-based engine needs exactly one tag";

  public AggregateBasedAnnalsEventStorageEngine(Channel channel, EventConverter converter) {
    super(channel, converter);
  }

  /** As the constructor of {@link AnnalsEventStorageEngine}. */
  public AggregateBasedAnnalsEventStorageEngine(
      Channel channel, EventConverter converter, String contentType, Duration timeout) {
    super(channel, converter, contentType, timeout);
  }

  @Override
  AppendRequest requestFor(AppendCondition condition, List<TaggedEventMessage<?>> events) {
    assertValidTags(events);
    AggregateBasedConsistencyMarker marker = AggregateBasedConsistencyMarker.from(condition);
    AppendRequest.Builder request = AppendRequest.newBuilder();
    if (marker instanceof VersionsMarker read) request.setEpoch(read.epoch);
    Map<String, Tag> aggregates = new TreeMap<>();
    for (TaggedEventMessage<?> tagged : events) {
      NewEvent.Builder event = mapper.toStore(tagged.event(), tagged.tags());
      tagged.tags().forEach(tag -> aggregates.put(EventMapper.stream(tag), tag));
      tagged.tags().forEach(tag -> event.setStream(EventMapper.stream(tag)));
      request.addEvents(event);
    }
    aggregates.forEach((stream, tag) -> request.addExpectationsBuilder()
        .setStream(stream).setExpectedVersion(expected(marker, stream, tag.value())));
    return request.build();
  }

  private static long expected(AggregateBasedConsistencyMarker marker, String stream, String id) {
    if (marker instanceof VersionsMarker read) return read.versions.getOrDefault(stream, 0L);
    long next = marker.createSequencer().incrementAndGetSequenceOf(id);
    // The framework's own marker has 0 for an aggregate without events: see `markerOf`.
    return next == 1 ? 0 : next;
  }

  @Override
  ConsistencyMarker markerAfter(AppendCondition condition, AppendResponse stored) {
    Map<String, Long> versions = new TreeMap<>();
    if (condition.consistencyMarker() instanceof VersionsMarker read) versions.putAll(read.versions);
    stored.getStreamsList().forEach(s -> versions.put(s.getStream(), s.getLastVersion()));
    return versions.isEmpty() ? ConsistencyMarker.ORIGIN : new VersionsMarker(versions, stored.getEpoch());
  }

  @Override
  public MessageStream<EventMessage> source(
      @Nonnull SourcingCondition condition, @Nullable ProcessingContext context) {
    Set<Tag> aggregates = condition.criteria().flatten().stream()
        .map(AggregateBasedAnnalsEventStorageEngine::aggregate).collect(Collectors.toSet());
    if (aggregates.isEmpty()) throw new IllegalArgumentException(ONE_TAG);
    Map<String, Long> versions = new ConcurrentSkipListMap<>();
    CompletableFuture<ConsistencyMarker> marker = new CompletableFuture<>();
    MessageStream<EventMessage> all = MessageStream.empty().cast();
    for (Tag aggregate : aggregates) {
      all = all.concatWith(read(aggregate, condition, (version, epoch) -> {
        versions.put(EventMapper.stream(aggregate), version);
        if (versions.size() == aggregates.size()) marker.complete(markerOf(versions, epoch));
      }));
    }
    return all.concatWith(MessageStream.<EventMessage>fromFuture(
        marker.thenApply(read -> TerminalEventMessage.INSTANCE),
        end -> Context.with(ConsistencyMarker.RESOURCE_KEY, marker.join())));
  }

  private MessageStream<EventMessage> read(
      Tag aggregate, SourcingCondition condition, BiConsumer<Long, String> atEnd) {
    ReadRequest.Builder request = ReadRequest.newBuilder().setStream(EventMapper.stream(aggregate));
    request.setFromVersion(AggregateSequenceNumberPosition.toSequenceNumber(condition.start()) + 1);
    EventStream<ReadRequest, ReadResponse> events = new EventStream<>(mapper, (stream, part) -> {
      List<RecordedEvent> asked = part.getBatch().getEventsList().stream()
          .filter(event -> condition.matches(new QualifiedName(event.getType()), Set.of(aggregate))).toList();
      stream.add(asked, part.getEpoch());
      if (!part.hasEnd()) return;
      atEnd.accept(part.getEnd().getStreamVersion(), part.getEpoch());
      stream.end();
    });
    timed().read(request.build(), events);
    return events;
  }

  private static Tag aggregate(EventCriterion criterion) {
    if (criterion.tags().size() != 1) throw new IllegalArgumentException(ONE_TAG);
    return criterion.tags().iterator().next();
  }

  /**
   * The framework wants its own marker, sequence 0 of each, where several aggregates were sourced and
   * none has an event. Such a marker comes from nowhere else, so that 0 says "no events" there.
   */
  private static ConsistencyMarker markerOf(Map<String, Long> versions, String epoch) {
    if (versions.size() == 1 || versions.values().stream().anyMatch(version -> version > 0)) {
      return new VersionsMarker(versions, epoch);
    }
    return versions.keySet().stream()
        .<ConsistencyMarker>map(stream -> new AggregateBasedConsistencyMarker(id(stream), 0))
        .reduce(ConsistencyMarker::upperBound).orElseThrow();
  }

  /** The key has no hyphen in a stream's name: see `EventMapper.stream`. */
  private static String id(String stream) {
    return stream.substring(stream.indexOf('-') + 1);
  }

  /** The versions of streams that were read or written; a stream that it lacks has no events. */
  private static final class VersionsMarker extends AggregateBasedConsistencyMarker {
    private final TreeMap<String, Long> versions;
    private final String epoch;

    VersionsMarker(Map<String, Long> versions, String epoch) {
      this(new TreeMap<>(versions), epoch);
    }

    private VersionsMarker(TreeMap<String, Long> versions, String epoch) {
      super(id(versions.firstKey()), Math.max(0, versions.firstEntry().getValue() - 1));
      this.versions = versions;
      this.epoch = epoch;
    }

    @Override
    public AggregateBasedConsistencyMarker doLowerBound(AggregateBasedConsistencyMarker other) {
      return merged(other, Math::min);
    }

    @Override
    public AggregateBasedConsistencyMarker doUpperBound(AggregateBasedConsistencyMarker other) {
      return merged(other, Math::max);
    }

    private VersionsMarker merged(AggregateBasedConsistencyMarker other, BinaryOperator<Long> bound) {
      TreeMap<String, Long> both = new TreeMap<>(versions);
      if (other instanceof VersionsMarker read) read.versions.forEach((s, v) -> both.merge(s, v, bound));
      return new VersionsMarker(both, epoch);
    }

    @Override
    public Position position() {
      if (versions.size() == 1) return super.position();
      throw new IllegalStateException("Several aggregates have no one position: " + this);
    }

    @Override
    public boolean equals(Object other) {
      return other instanceof VersionsMarker read ? versions.equals(read.versions) : super.equals(other);
    }

    @Override
    public int hashCode() {
      return super.hashCode();
    }

    @Override
    public String toString() {
      return "VersionsMarker" + versions;
    }
  }
}
