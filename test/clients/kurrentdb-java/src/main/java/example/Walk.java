// The official Java client of KurrentDB walks through the streams and persistent subscriptions of a
// server. Each step prints one line of JSON.
package example;

import io.kurrent.dbclient.*;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import java.util.stream.Stream;

public final class Walk {
  private static final String address = System.getenv("ANNALS_ADDRESS");
  private static final BufferedReader input =
      new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
  private static final long everything = 1L << 50;
  private static KurrentDBClient client;
  private static KurrentDBPersistentSubscriptionsClient groups;

  private static KurrentDBClient connect(String url) {
    return KurrentDBClient.create(KurrentDBConnectionString.parseOrThrow(url));
  }

  private static void expect(boolean holds, Object... what) {
    if (!holds) throw new AssertionError(Arrays.deepToString(what));
  }

  private static <T> T done(CompletableFuture<T> future) throws Exception {
    try {
      return future.get(60, TimeUnit.SECONDS);
    } catch (ExecutionException failure) {
      Throwable cause = failure.getCause();
      while (cause.getCause() != null && cause instanceof java.util.concurrent.CompletionException) {
        cause = cause.getCause();
      }
      if (cause instanceof Exception exception) throw exception;
      throw new IllegalStateException(cause);
    }
  }

  /** Expects a failure of a kind. */
  private static void fails(Class<? extends Throwable> kind, CompletableFuture<?> future) {
    try {
      done(future);
    } catch (Exception failure) {
      expect(kind.isInstance(failure), "expected", kind.getSimpleName(), "got", failure.toString());
      return;
    }
    throw new AssertionError("expected " + kind.getSimpleName());
  }

  private static String name() {
    return "orders-" + UUID.randomUUID();
  }

  private static byte[] bytes(String text) {
    return text.getBytes(StandardCharsets.UTF_8);
  }

  private static EventData event(String kind) {
    return EventData.builderAsJson(UUID.randomUUID(), kind, bytes("{\"x\":1}")).build();
  }

  private static EventData[] events(String... kinds) {
    return Stream.of(kinds).map(Walk::event).toArray(EventData[]::new);
  }

  private static AppendToStreamOptions at(StreamState state) {
    return AppendToStreamOptions.get().streamState(state);
  }

  private static CompletableFuture<WriteResult> write(
      String stream, StreamState state, EventData... events) {
    return client.appendToStream(stream, at(state), events);
  }

  private static WriteResult add(String stream, StreamState state, EventData... events)
      throws Exception {
    return done(write(stream, state, events));
  }

  private static ReadStreamOptions fromStart() {
    return ReadStreamOptions.get().forwards().fromStart().maxCount(everything);
  }

  private static List<ResolvedEvent> read(String stream) throws Exception {
    return done(client.readStream(stream, fromStart())).getEvents();
  }

  private static String kinds(List<ResolvedEvent> events) {
    return events.stream()
        .map(each -> each.getEvent().getEventType())
        .collect(Collectors.joining(" "));
  }

  private static void restart() throws Exception {
    System.out.println("RESTART");
    String line = input.readLine();
    expect("restarted".equals(line), line);
  }

  /** Keeps what a subscription brings. */
  private static final class Seen extends SubscriptionListener {
    final BlockingQueue<ResolvedEvent> events = new LinkedBlockingQueue<>();
    final CompletableFuture<Void> cancelled = new CompletableFuture<>();
    final CompletableFuture<Void> caughtUp = new CompletableFuture<>();

    @Override
    public void onEvent(Subscription subscription, ResolvedEvent event) {
      events.add(event);
    }

    @Override
    public void onCancelled(Subscription subscription, Throwable exception) {
      cancelled.complete(null);
    }

    @Override
    public void onCaughtUp(
        Subscription subscription, Instant timestamp, Long revision, Position position) {
      caughtUp.complete(null);
    }

    RecordedEvent next() throws Exception {
      ResolvedEvent found = events.poll(60, TimeUnit.SECONDS);
      expect(found != null, "no event came");
      return found.getOriginalEvent();
    }
  }

  /** An event of a persistent subscription, and how often it had come before. */
  private record Due(PersistentSubscription from, int retries, ResolvedEvent event) {
    String kind() {
      return event.getEvent().getEventType();
    }
  }

  private static final class Dues extends PersistentSubscriptionListener {
    private final BlockingQueue<Due> events = new LinkedBlockingQueue<>();

    @Override
    public void onEvent(PersistentSubscription from, int retries, ResolvedEvent event) {
      events.add(new Due(from, retries, event));
    }

    Due next() throws Exception {
      Due found = events.poll(60, TimeUnit.SECONDS);
      expect(found != null, "no event came");
      return found;
    }
  }

  /** Where it discovers, this client reads ports as signed numbers of 16 bits. */
  private static void connectInEachWay() throws Exception {
    ServerVersion version = done(client.getServerVersion()).orElseThrow();
    expect(version.isGreaterOrEqualThan(26, 1), version);
    String stream = name();
    List<String> urls = new ArrayList<>(List.of("kdb://" + address, "esdb://" + address));
    if (Integer.parseInt(address.replaceFirst(".*:", "")) <= Short.MAX_VALUE) {
      urls.addAll(List.of("kurrentdb+discover://" + address, "kurrentdb://" + address + "," + address));
    }
    for (String url : urls) {
      KurrentDBClient found = connect(url + "?tls=false");
      done(found.appendToStream(stream, event("A")));
      done(found.shutdown());
    }
    expect(read(stream).size() == urls.size(), kinds(read(stream)));
  }

  private static void appendAndRead() throws Exception {
    String stream = name();
    EventData first =
        EventData.builderAsJson(UUID.randomUUID(), "A", bytes("{\"n\":1}"))
            .metadataAsBytes(bytes("{\"$correlationId\":\"c\"}"))
            .build();
    EventData second =
        EventData.builderAsBinary(UUID.randomUUID(), "B", new byte[] {0, 1, -1})
            .metadataAsBytes(new byte[] {9, -1})
            .build();
    WriteResult written = add(stream, StreamState.noStream(), first, second);
    expect(written.getNextExpectedRevision().toRawLong() == 1, written);
    WriteResult later = add(stream, StreamState.streamRevision(1), event("C"));
    expect(later.getLogPosition().compareTo(written.getLogPosition()) > 0, "positions ascend");
    List<ResolvedEvent> all = read(stream);
    expect(kinds(all).equals("A B C"), kinds(all));
    RecordedEvent a = all.get(0).getEvent();
    RecordedEvent b = all.get(1).getEvent();
    expect(a.getEventId().equals(first.getEventId()), a.getEventId());
    expect(a.getRevision() == 0 && b.getRevision() == 1, "revisions");
    expect(Arrays.equals(a.getUserMetadata(), first.getUserMetadata()), "metadata");
    expect(a.getContentType().equals("application/json"), a.getContentType());
    expect(Arrays.equals(b.getEventData(), second.getEventData()), "bytes");
    expect(Arrays.equals(b.getUserMetadata(), second.getUserMetadata()), "bytes of metadata");
    expect(b.getContentType().equals("application/octet-stream"), b.getContentType());
    expect(Duration.between(a.getCreated(), Instant.now()).abs().toMinutes() < 1, a.getCreated());
    ReadStreamOptions back = ReadStreamOptions.get().backwards().fromEnd().maxCount(2);
    expect(kinds(done(client.readStream(stream, back)).getEvents()).equals("C B"), "backwards");
    ReadStreamOptions rest = ReadStreamOptions.get().fromRevision(1).maxCount(everything);
    expect(kinds(done(client.readStream(stream, rest)).getEvents()).equals("B C"), "from 1");
  }

  private static void conflict() throws Exception {
    String stream = name();
    add(stream, StreamState.noStream(), event("A"));
    for (StreamState state : List.of(StreamState.noStream(), StreamState.streamRevision(5))) {
      fails(WrongExpectedVersionException.class, write(stream, state, event("B")));
    }
    fails(
        WrongExpectedVersionException.class,
        write(name(), StreamState.streamExists(), event("B")));
  }

  private static void retry() throws Exception {
    String stream = name();
    EventData[] both = events("A", "B");
    for (StreamState state : List.of(StreamState.any(), StreamState.noStream())) {
      WriteResult first = add(stream, state, both);
      WriteResult again = add(stream, state, both);
      expect(first.toString().equals(again.toString()), first, again);
    }
    add(name(), StreamState.any(), both);
    expect(read(stream).size() == 2, "stored once");
  }

  private static void many() throws Exception {
    String stream = name();
    byte[] data = bytes("\"" + "x".repeat(500) + "\"");
    EventData[] all = new EventData[3_000];
    for (int i = 0; i < all.length; i++) {
      all[i] = EventData.builderAsJson(UUID.randomUUID(), "Many", data).build();
    }
    add(stream, StreamState.noStream(), all);
    List<ResolvedEvent> found = read(stream);
    expect(found.size() == all.length, found.size());
    expect(found.get(2_999).getEvent().getEventId().equals(all[2_999].getEventId()), "the last");
  }

  private static void readAll() throws Exception {
    WriteResult written = add(name(), StreamState.any(), events("A", "B"));
    ReadAllOptions back = ReadAllOptions.get().backwards().fromEnd().maxCount(1);
    expect(kinds(done(client.readAll(back)).getEvents()).equals("B"), "the last event");
    ReadAllOptions inclusive =
        ReadAllOptions.get().forwards().fromPosition(written.getLogPosition()).maxCount(5);
    ResolvedEvent first = done(client.readAll(inclusive)).getEvents().get(0);
    expect(first.getEvent().getEventType().equals("B"), "inclusive");
    ReadAllOptions start = ReadAllOptions.get().forwards().fromStart().maxCount(3);
    expect(done(client.readAll(start)).getEvents().size() == 3, "three");
  }

  private static void subscribeThroughARestart() throws Exception {
    String stream = name();
    add(stream, StreamState.any(), events("E0", "E1"));
    Seen first = new Seen();
    done(client.subscribeToStream(stream, first, SubscribeToStreamOptions.get().fromStart()));
    first.next();
    long last = first.next().getRevision();
    restart();
    done(first.cancelled);
    for (int tries = 0; ; tries++) {
      try {
        add(stream, StreamState.streamRevision(1), event("E2"));
        break;
      } catch (Exception failure) {
        expect(tries < 50, failure);
        Thread.sleep(200);
      }
    }
    Seen rest = new Seen();
    Subscription subscription =
        done(
            client.subscribeToStream(
                stream, rest, SubscribeToStreamOptions.get().fromRevision(last)));
    RecordedEvent found = rest.next();
    expect(found.getEventType().equals("E2") && found.getRevision() == 2, found);
    subscription.stop();
  }

  private static void subscribeToAll() throws Exception {
    String stream = name();
    // This client sends a prefix as a regular expression, which may match anywhere in a name.
    WriteResult before = add(name(), StreamState.any(), events("A", "B", "C", "D", "E", "F"));
    List<Long> checkpoints = new ArrayList<>();
    SubscriptionFilter prefixed =
        SubscriptionFilter.newBuilder()
            .addStreamNamePrefix(stream)
            .withMaxWindow(1)
            .withCheckpointer(
                (subscription, position) -> {
                  synchronized (checkpoints) {
                    checkpoints.add(position.getCommitUnsigned());
                  }
                  return CompletableFuture.completedFuture(null);
                },
                2)
            .build();
    Seen mine = new Seen();
    Subscription subscription =
        done(
            client.subscribeToAll(mine, SubscribeToAllOptions.get().fromStart().filter(prefixed)));
    add(stream, StreamState.any(), event("Mine"));
    expect(mine.next().getEventType().equals("Mine"), "by a prefix");
    done(mine.caughtUp);
    subscription.stop();
    synchronized (checkpoints) {
      expect(checkpoints.get(0) <= before.getLogPosition().getCommitUnsigned(), checkpoints);
      expect(checkpoints.equals(checkpoints.stream().sorted().distinct().toList()), checkpoints);
    }
    SubscriptionFilter pattern =
        SubscriptionFilter.newBuilder()
            .withEventTypeRegularExpression("^(?!(\\$|A)).*ne$")
            .build();
    Seen matching = new Seen();
    SubscribeToAllOptions after =
        SubscribeToAllOptions.get().fromPosition(before.getLogPosition()).filter(pattern);
    Subscription other = done(client.subscribeToAll(matching, after));
    expect(matching.next().getEventType().equals("Mine"), "by a regular expression");
    other.stop();
  }

  private static CreatePersistentSubscriptionToStreamOptions workers() {
    return CreatePersistentSubscriptionToStreamOptions.get().fromStart().maxRetryCount(2);
  }

  private static void persistentSubscription() throws Exception {
    String stream = name();
    add(stream, StreamState.any(), events("E0", "E1", "E2", "E3", "E4"));
    done(groups.createToStream(stream, "workers", workers()));
    fails(Exception.class, groups.createToStream(stream, "workers", workers()));
    Dues consumer = new Dues();
    PersistentSubscription subscription =
        done(groups.subscribeToStream(stream, "workers", consumer));
    List<String> seen = new ArrayList<>();
    while (seen.size() < 6) {
      Due due = consumer.next();
      seen.add(due.kind() + " " + due.retries());
      if (due.kind().equals("E1") && due.retries() == 0) {
        subscription.nack(NackAction.Retry, "again", due.event());
      } else if (due.kind().equals("E2")) {
        subscription.nack(NackAction.Park, "later", due.event());
      } else if (due.kind().equals("E3")) {
        subscription.nack(NackAction.Skip, "never", due.event());
      } else {
        subscription.ack(due.event());
      }
    }
    expect(seen.contains("E1 1"), seen);
    for (int tries = 0; ; tries++) {
      PersistentSubscriptionToStreamInfo info =
          done(groups.getInfoToStream(stream, "workers")).orElseThrow();
      if (info.getStats().getParkedMessageCount() == 1) {
        expect(info.getEventSource().equals(stream) && info.getConnections().size() == 1, info);
        break;
      }
      expect(tries < 200, info);
      Thread.sleep(50);
    }
    done(groups.replayParkedMessagesToStream(stream, "workers"));
    Due parked = consumer.next();
    expect(parked.kind().equals("E2"), parked.kind());
    subscription.ack(parked.event());
    subscription.stop();
    done(
        groups.updateToStream(
            stream, "workers", UpdatePersistentSubscriptionToStreamOptions.get().maxRetryCount(7)));
    List<PersistentSubscriptionToStreamInfo> list = done(groups.listToStream(stream));
    expect(list.size() == 1 && list.get(0).getSettings().getMaxRetryCount() == 7, list);
    done(groups.deleteToStream(stream, "workers"));
    expect(done(groups.getInfoToStream(stream, "workers")).isEmpty(), "it is gone");
  }

  private static void persistentSubscriptionToAll() throws Exception {
    String stream = name();
    String group = "all-" + UUID.randomUUID();
    Position before = add(stream, StreamState.any(), event("Before")).getLogPosition();
    for (NamedConsumerStrategy strategy :
        List.of(
            NamedConsumerStrategy.ROUND_ROBIN,
            NamedConsumerStrategy.DISPATCH_TO_SINGLE,
            NamedConsumerStrategy.PINNED,
            NamedConsumerStrategy.PINNED_BY_CORRELATION)) {
      CreatePersistentSubscriptionToAllOptions options =
          CreatePersistentSubscriptionToAllOptions.get()
              .startFrom(before)
              .filter(SubscriptionFilter.newBuilder().addStreamNamePrefix(stream).build())
              .namedConsumerStrategy(strategy);
      done(groups.createToAll(group, options));
      add(stream, StreamState.any(), event(strategy.toString()));
      Dues consumer = new Dues();
      PersistentSubscription subscription = done(groups.subscribeToAll(group, consumer));
      for (String last = ""; !last.equals(strategy.toString()); ) {
        Due due = consumer.next();
        subscription.ack(due.event());
        last = due.kind();
      }
      subscription.stop();
      PersistentSubscriptionToAllInfo info = done(groups.getInfoToAll(group)).orElseThrow();
      String found = info.getSettings().getNamedConsumerStrategy().toString();
      expect(found.equals(strategy.toString()), found);
      done(groups.deleteToAll(group));
    }
  }

  private static void aKilledConsumer() throws Exception {
    String stream = name();
    add(stream, StreamState.any(), events("E0", "E1", "E2"));
    done(groups.createToStream(stream, "workers", workers()));
    String java = ProcessHandle.current().info().command().orElse("java");
    Process killed =
        new ProcessBuilder(
                java, "-cp", System.getProperty("java.class.path"), "example.Walk", stream)
            .redirectError(ProcessBuilder.Redirect.DISCARD)
            .start();
    String line =
        new BufferedReader(new InputStreamReader(killed.getInputStream(), StandardCharsets.UTF_8))
            .readLine();
    expect("holding".equals(line), line);
    killed.destroyForcibly().waitFor();
    Dues consumer = new Dues();
    PersistentSubscription subscription =
        done(groups.subscribeToStream(stream, "workers", consumer));
    List<String> seen = new ArrayList<>();
    while (seen.stream().distinct().count() < 3) {
      Due due = consumer.next();
      seen.add(due.kind());
      subscription.ack(due.event());
    }
    subscription.stop();
  }

  /** Takes three events and keeps them until the process is killed. */
  private static void holdEvents(String stream) throws Exception {
    Dues consumer = new Dues();
    done(groups.subscribeToStream(stream, "workers", consumer));
    for (int i = 0; i < 3; i++) consumer.next();
    System.out.println("holding");
    Thread.sleep(Long.MAX_VALUE);
  }

  private static void metadata() throws Exception {
    String stream = name();
    add(stream, StreamState.any(), events("A", "B", "C"));
    StreamMetadata asked = new StreamMetadata();
    asked.setMaxCount(2L);
    asked.setMaxAge(3_600L);
    asked.setCustomProperties(Map.of("mine", "x"));
    done(client.setStreamMetadata(stream, asked));
    StreamMetadata found = done(client.getStreamMetadata(stream));
    expect(found.getMaxCount() == 2 && found.getMaxAge() == 3_600, found);
    expect(kinds(read(stream)).equals("B C"), "two are left");
    expect(done(client.getStreamMetadata(name())).getMaxCount() == null, "there is none");
  }

  private static void deleteAndTombstone() throws Exception {
    String stream = name();
    fails(StreamNotFoundException.class, client.readStream(stream, fromStart()));
    add(stream, StreamState.noStream(), events("A", "B"));
    fails(
        WrongExpectedVersionException.class,
        client.deleteStream(stream, DeleteStreamOptions.get().streamRevision(0)));
    done(client.deleteStream(stream, DeleteStreamOptions.get().streamRevision(1)));
    fails(StreamNotFoundException.class, client.readStream(stream, fromStart()));
    add(stream, StreamState.noStream(), event("Again"));
    List<ResolvedEvent> found = read(stream);
    expect(kinds(found).equals("Again") && found.get(0).getEvent().getRevision() == 2, found);
    done(client.tombstoneStream(stream));
    // A read of it fails with the status of gRPC.
    fails(Exception.class, client.readStream(stream, fromStart()));
    fails(StreamDeletedException.class, write(stream, StreamState.any(), event("Late")));
  }

  private static void links() throws Exception {
    String category = "linked" + UUID.randomUUID().toString().replace("-", "");
    add(category + "-1", StreamState.any(), events("A", "B"));
    List<ResolvedEvent> found =
        done(client.readStream("$ce-" + category, fromStart().resolveLinkTos())).getEvents();
    expect(kinds(found).equals("A B"), kinds(found));
    expect(found.get(0).getLink().getEventType().equals("$>"), "a link");
  }

  private static void severalStreams() throws Exception {
    String a = name();
    String b = name();
    EventData first =
        EventData.builderAsJson(UUID.randomUUID(), "A", bytes("{\"n\":1}"))
            .metadataAsBytes(bytes("{\"p\":\"x\"}"))
            .build();
    MultiStreamAppendResponse appended =
        done(
            client.multiStreamAppend(
                List.of(
                        new io.kurrent.dbclient.AppendStreamRequest(
                            a, List.of(first).iterator(), StreamState.noStream()),
                        new io.kurrent.dbclient.AppendStreamRequest(
                            b, List.of(event("B")).iterator(), StreamState.any()))
                    .iterator()));
    expect(appended.getResults().size() == 2 && appended.getPosition() > 0, appended);
    String kept = new String(read(a).get(0).getEvent().getUserMetadata(), StandardCharsets.UTF_8);
    expect(kept.contains("\"p\":\"x\""), kept);
    fails(
        WrongExpectedVersionException.class,
        client.multiStreamAppend(
            List.of(
                    new io.kurrent.dbclient.AppendStreamRequest(
                        a, List.of(event("C")).iterator(), StreamState.streamRevision(7)))
                .iterator()));
    expect(kinds(read(a)).equals("A"), "nothing was stored");
  }

  private interface Step {
    void run() throws Exception;
  }

  private static void run(String step, Step does) {
    String said;
    try {
      does.run();
      said = "\"ok\":true";
    } catch (Throwable failure) {
      String text = String.valueOf(failure).replace("\\", "\\\\").replace("\"", "\\\"");
      said = "\"ok\":false,\"error\":\"" + text.replaceAll("\\p{Cntrl}", " ") + "\"";
    }
    System.out.println("{\"step\":\"" + step + "\"," + said + "}");
  }

  public static void main(String[] arguments) throws Exception {
    client = connect("kurrentdb://" + address + "?tls=false");
    groups = KurrentDBPersistentSubscriptionsClient.from(client);
    if (arguments.length == 1) holdEvents(arguments[0]);
    run("connect in each way", Walk::connectInEachWay);
    run("append and read", Walk::appendAndRead);
    run("conflict", Walk::conflict);
    run("retry", Walk::retry);
    run("many", Walk::many);
    run("read all", Walk::readAll);
    run("subscribe through a restart", Walk::subscribeThroughARestart);
    run("subscribe to all", Walk::subscribeToAll);
    run("persistent subscription", Walk::persistentSubscription);
    run("persistent subscription to all", Walk::persistentSubscriptionToAll);
    run("a killed consumer", Walk::aKilledConsumer);
    run("metadata", Walk::metadata);
    run("delete and tombstone", Walk::deleteAndTombstone);
    run("links", Walk::links);
    run("several streams", Walk::severalStreams);
    System.exit(0);
  }
}
