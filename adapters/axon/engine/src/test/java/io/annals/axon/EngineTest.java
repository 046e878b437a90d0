package io.annals.axon;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.Executors;
import java.util.stream.IntStream;
import org.awaitility.Awaitility;
import org.axonframework.eventsourcing.eventstore.AppendCondition;
import org.axonframework.eventsourcing.eventstore.AppendEventsTransactionRejectedException;
import org.axonframework.eventsourcing.eventstore.ConsistencyMarker;
import org.axonframework.eventsourcing.eventstore.EventStorageEngine;
import org.axonframework.eventsourcing.eventstore.EventStorageEngine.AppendTransaction;
import org.axonframework.eventsourcing.eventstore.EventStoreException;
import org.axonframework.eventsourcing.eventstore.GenericTaggedEventMessage;
import org.axonframework.eventsourcing.eventstore.SourcingCondition;
import org.axonframework.eventsourcing.eventstore.StorageEngineBackedEventStore;
import org.axonframework.eventsourcing.eventstore.TaggedEventMessage;
import org.axonframework.messaging.core.MessageStream;
import org.axonframework.messaging.core.MessageStream.Entry;
import org.axonframework.messaging.core.MessageType;
import org.axonframework.messaging.core.unitofwork.StubProcessingContext;
import org.axonframework.messaging.eventhandling.EventMessage;
import org.axonframework.messaging.eventhandling.GenericEventMessage;
import org.axonframework.messaging.eventhandling.SimpleEventBus;
import org.axonframework.messaging.eventhandling.processing.streaming.token.TrackingToken;
import org.axonframework.messaging.eventstreaming.EventCriteria;
import org.axonframework.messaging.eventstreaming.StreamingCondition;
import org.axonframework.messaging.eventstreaming.Tag;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** What the framework's suites do not ask. */
class EngineTest {
  private static final Duration PATIENCE = Duration.ofMinutes(3);

  private static Server server;
  private static AnnalsEventStorageEngine engine;

  @BeforeAll
  static void startServer() {
    server = new Server();
    engine = new AnnalsEventStorageEngine(server.channel(), Server.CONVERTER, "application/json", PATIENCE);
  }

  @AfterAll
  static void closeServer() throws IOException {
    server.close();
  }

  @Test
  void givesBackWhatItGot() {
    Tag tag = new Tag("a:b%$", "c:d");
    var metadata = new java.util.HashMap<>(Map.of("plain", "1", "$dollar", "2", "axon.version", "3", "", "4"));
    metadata.put("nothing", null);
    Instant time = Instant.parse("1999-12-31T23:59:59.123456789Z");
    var event = new GenericEventMessage(
        "no-uuid", new MessageType("odd.Event", "7"), Map.of("key", 1), metadata, time);
    var empty = new GenericEventMessage(UUID.randomUUID().toString(), new MessageType("none"), null, Map.of(), time);
    append(AppendCondition.none(), new GenericTaggedEventMessage<>(event, Set.of(tag, new Tag("$x", "y"))),
        new GenericTaggedEventMessage<>(empty, Set.of(tag)));

    List<EventMessage> read = sourced(engine, EventCriteria.havingTags(tag)).events();
    assertThat(read).hasSize(2);
    assertThat(read.get(0).identifier()).isEqualTo("no-uuid");
    assertThat(read.get(0).type()).isEqualTo(event.type());
    assertThat(read.get(0).timestamp()).isEqualTo(time);
    assertThat(read.get(0).metadata()).isEqualTo(metadata);
    assertThat(read.get(0).payloadAs(Map.class, Server.CONVERTER)).isEqualTo(Map.of("key", 1));
    assertThat(read.get(1).payload()).isNull();
    assertThat(sourced(engine, EventCriteria.havingTags("$x", "y")).events()).hasSize(1);
  }

  @Test
  void anAlternativeWithoutTagsAndTypesIsEveryEvent() {
    String id = UUID.randomUUID().toString();
    append(AppendCondition.none(), tagged("one", id));
    EventCriteria everything = EventCriteria.havingTags("no", "such").or().havingAnyTag();
    assertThat(sourced(engine, everything).events()).isNotEmpty();
    assertThatThrownBy(() -> append(AppendCondition.withCriteria(everything), tagged("two", id)))
        .hasCauseInstanceOf(AppendEventsTransactionRejectedException.class);
  }

  @Test
  void aRepeatedAppendIsStoredOnce() {
    String id = UUID.randomUUID().toString();
    var event = tagged("once", id);
    ConsistencyMarker first = append(AppendCondition.none(), event);
    assertThat(append(AppendCondition.none(), event)).isEqualTo(first);
    assertThat(sourced(engine, EventCriteria.havingTags("id", id)).events()).hasSize(1);
  }

  /** The framework's event store does not wait for the commit there, and drops its failure. */
  @Test
  void aPublicationOutsideAUnitOfWorkIsStoredOrFails() {
    var gone = AnnalsChannel.open("127.0.0.1:1");
    try {
      var impatient = new AnnalsEventStorageEngine(gone, Server.CONVERTER, "application/json", Duration.ofMillis(300));
      var store = new StorageEngineBackedEventStore(impatient, new SimpleEventBus(), event -> Set.of());
      List<EventMessage> events = List.of(new GenericEventMessage(new MessageType("lost"), "payload"));
      assertThatThrownBy(() -> store.publish(null, events).join()).hasRootCauseInstanceOf(io.grpc.StatusRuntimeException.class);
    } finally {
      gone.shutdownNow();
    }
  }

  @Test
  void ofThoseThatFoundNoAggregateOneWins() {
    var aggregates = new AggregateBasedAnnalsEventStorageEngine(server.channel(), Server.CONVERTER);
    String id = UUID.randomUUID().toString();
    EventCriteria criteria = EventCriteria.havingTags("id", id);
    EventCriteria both = criteria.or(EventCriteria.havingTags("id", "other-" + id));
    ConsistencyMarker one = sourced(aggregates, criteria).marker();
    ConsistencyMarker two = sourced(aggregates, both).marker();
    ConsistencyMarker won = append(aggregates, AppendCondition.withCriteria(criteria).withMarker(one), tagged("won", id));
    assertThatThrownBy(() -> append(aggregates, AppendCondition.withCriteria(both).withMarker(two), tagged("lost", id)))
        .hasCauseInstanceOf(AppendEventsTransactionRejectedException.class);
    append(aggregates, AppendCondition.withCriteria(criteria).withMarker(won), tagged("next", id));
    append(aggregates, AppendCondition.withCriteria(both).withMarker(two), tagged("first", "other-" + id));
    assertThat(sourced(aggregates, criteria).events()).hasSize(2);
    // The other engine finds them by their tags.
    assertThat(sourced(engine, criteria).events()).hasSize(2);
  }

  @Test
  void anAggregateThatWasReadBeforeItsEndIsReadFromThere() {
    var aggregates = new AggregateBasedAnnalsEventStorageEngine(server.channel(), Server.CONVERTER);
    String id = UUID.randomUUID().toString();
    EventCriteria criteria = EventCriteria.havingTags("id", id);
    append(aggregates, AppendCondition.withCriteria(criteria), tagged("a", id), tagged("b", id));
    ConsistencyMarker marker = sourced(aggregates, criteria).marker();
    var rest = SourcingCondition.conditionFor(marker.position(), criteria);
    assertThat(drained(aggregates.source(rest, null)).events()).hasSize(1);
    // And of all events after the last one there are none.
    ConsistencyMarker end = sourced(engine, criteria).marker();
    assertThat(drained(engine.source(SourcingCondition.conditionFor(end.position(), criteria), null)).events()).isEmpty();
  }

  @Test
  void aTokenOfAnotherHistoryIsRefused() {
    TrackingToken foreign = new AnnalsTrackingToken(1, "0123456789abcdef");
    MessageStream<EventMessage> stream = engine.stream(StreamingCondition.startingFrom(foreign), null);
    Awaitility.await().atMost(PATIENCE).until(() -> stream.error().isPresent());
    assertThat(stream.error().orElseThrow()).isInstanceOf(EventStoreException.class).hasMessageContaining("epoch");
  }

  /** Writers with conditions, and a reader that goes on from its token, while the server is killed twice. */
  @Test
  void nothingIsLostOrDoubledWhereTheServerIsKilled() throws Exception {
    int writers = 4;
    int each = 40;
    String run = UUID.randomUUID().toString();
    EventCriteria all = EventCriteria.havingTags("run", run);
    TrackingToken start = engine.latestToken(null).join();
    Map<Integer, Integer> written = new ConcurrentHashMap<>();
    try (var threads = Executors.newVirtualThreadPerTaskExecutor()) {
      List<CompletableFuture<Void>> done = IntStream.range(0, writers).mapToObj(writer -> CompletableFuture.runAsync(() -> {
        Set<Tag> tags = Set.of(new Tag("run", run), new Tag("writer", run + writer));
        EventCriteria own = EventCriteria.havingTags("writer", run + writer);
        ConsistencyMarker marker = ConsistencyMarker.ORIGIN;
        for (int i = 0; i < each; i++) {
          var event = new GenericEventMessage(new MessageType("counted"), writer + ":" + i);
          marker = append(AppendCondition.withCriteria(own).withMarker(marker), new GenericTaggedEventMessage<>(event, tags));
          written.merge(writer, 1, Integer::sum);
        }
      }, threads)).toList();
      CompletableFuture<List<String>> seen =
          CompletableFuture.supplyAsync(() -> followed(start, all, writers * each), threads);
      for (int killed = 1; killed <= 2; killed++) {
        int enough = killed * writers * each / 3;
        Awaitility.await().atMost(PATIENCE).until(() -> total(written) >= enough);
        server.kill();
        server.start();
      }
      CompletableFuture.allOf(done.toArray(CompletableFuture[]::new)).join();
      List<String> stored = sourced(engine, all).events().stream().map(EngineTest::text).toList();
      assertThat(stored).hasSize(writers * each).doesNotHaveDuplicates();
      for (int writer = 0; writer < writers; writer++) {
        String prefix = writer + ":";
        assertThat(stored.stream().filter(text -> text.startsWith(prefix)))
            .containsExactlyElementsOf(IntStream.range(0, each).mapToObj(i -> prefix + i).toList());
      }
      assertThat(seen.join()).isEqualTo(stored);
    }
  }

  /** As an event processor does it: after an error, a new stream from the last token. */
  private static List<String> followed(TrackingToken start, EventCriteria criteria, int count) {
    List<String> seen = new ArrayList<>();
    TrackingToken token = start;
    while (seen.size() < count) {
      MessageStream<EventMessage> stream = engine.stream(StreamingCondition.conditionFor(token, criteria), null);
      while (seen.size() < count && stream.error().isEmpty()) {
        var next = stream.next();
        if (next.isEmpty()) pause();
        else {
          seen.add(text(next.get().message()));
          token = TrackingToken.fromContext(next.get()).orElseThrow();
        }
      }
      stream.close();
    }
    return seen;
  }

  private static void pause() {
    try {
      Thread.sleep(5);
    } catch (InterruptedException stopped) {
      throw new CompletionException(stopped);
    }
  }

  private static int total(Map<Integer, Integer> counts) {
    return counts.values().stream().mapToInt(Integer::intValue).sum();
  }

  private static String text(EventMessage event) {
    return event.payloadAs(String.class, Server.CONVERTER);
  }

  private static TaggedEventMessage<?> tagged(String payload, String id) {
    return new GenericTaggedEventMessage<>(
        new GenericEventMessage(new MessageType("happened"), payload), Set.of(new Tag("id", id)));
  }

  private record Sourced(List<EventMessage> events, ConsistencyMarker marker) {}

  private static Sourced sourced(EventStorageEngine from, EventCriteria criteria) {
    return drained(from.source(SourcingCondition.conditionFor(criteria), null));
  }

  private static Sourced drained(MessageStream<EventMessage> stream) {
    List<Entry<EventMessage>> entries = stream.<List<Entry<EventMessage>>>reduce(new ArrayList<>(), (list, entry) -> {
      list.add(entry);
      return list;
    }).join();
    ConsistencyMarker marker = entries.getLast().getResource(ConsistencyMarker.RESOURCE_KEY);
    return new Sourced(entries.subList(0, entries.size() - 1).stream().<EventMessage>map(Entry::message).toList(), marker);
  }

  private static ConsistencyMarker append(AppendCondition condition, TaggedEventMessage<?>... events) {
    return append(engine, condition, events);
  }

  @SuppressWarnings("unchecked")
  private static ConsistencyMarker append(
      EventStorageEngine to, AppendCondition condition, TaggedEventMessage<?>... events) {
    var context = new StubProcessingContext();
    var transaction = (AppendTransaction<Object>) to.appendEvents(condition, context, events).join();
    return transaction.commit(context).thenCompose(stored -> transaction.afterCommit(stored, context)).join();
  }
}
