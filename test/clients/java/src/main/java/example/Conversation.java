package example;

import com.google.gson.Gson;
import com.google.gson.reflect.TypeToken;
import com.google.protobuf.ByteString;
import io.annals.v1.AppendCondition;
import io.annals.v1.AppendRequest;
import io.annals.v1.AppendResponse;
import io.annals.v1.AppendPipeRequest;
import io.annals.v1.AppendPipeResponse;
import io.annals.v1.Direction;
import io.annals.v1.EventStoreServiceGrpc;
import io.annals.v1.GetSnapshotRequest;
import io.annals.v1.GetStreamRequest;
import io.annals.v1.LoadRequest;
import io.annals.v1.NewEvent;
import io.annals.v1.Query;
import io.annals.v1.QueryItem;
import io.annals.v1.ReadEnd;
import io.annals.v1.ReadRequest;
import io.annals.v1.RecordedEvent;
import io.annals.v1.SaveSnapshotRequest;
import io.annals.v1.StreamExpectation;
import io.annals.v1.StreamState;
import io.annals.v1.SubscribeRequest;
import io.annals.v1.SubscribeResponse;
import io.grpc.Context;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.ManagedChannelBuilder;
import io.grpc.netty.shaded.io.grpc.netty.NettyChannelBuilder;
import io.grpc.stub.StreamObserver;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;

/** The scripted conversation of test/clients/conversation.ts, by a generated Java client. */
public final class Conversation {
  private interface Step {
    Map<String, Object> run() throws Exception;
  }

  private final ManagedChannel channel;

  private Conversation(ManagedChannel channel) {
    this.channel = channel;
  }

  public static void main(String[] arguments) throws Exception {
    // `host:port`, or `unix:path` for a socket.
    String address = System.getenv("ANNALS_ADDRESS");
    ManagedChannelBuilder<?> builder =
        Grpc.newChannelBuilder(address, InsecureChannelCredentials.create())
            .defaultServiceConfig(serviceConfig())
            .enableRetry();
    // A socket's path, which Java would send, is no authority that an HTTP/2 server accepts.
    if (address.startsWith("unix:")) builder.overrideAuthority("localhost");
    if (builder instanceof NettyChannelBuilder netty) netty.flowControlWindow(4 * 1024 * 1024);
    ManagedChannel channel = builder.build();
    Conversation conversation = new Conversation(channel);
    report("append", conversation::append);
    report("conflict", conversation::conflict);
    report("retry", conversation::append);
    report("id_conflict", conversation::idConflict);
    report("two_streams", conversation::twoStreams);
    report("pipe", conversation::pipe);
    report("read_forwards", conversation::readForwards);
    report("read_backwards", conversation::readBackwards);
    report("query", conversation::query);
    report("snapshot", conversation::snapshot);
    report("load", conversation::load);
    report("subscribe", conversation::subscribe);
    report("deadline", conversation::deadline);
    report("large", conversation::large);
    report("restart", conversation::restart);
    channel.shutdownNow().awaitTermination(10, TimeUnit.SECONDS);
  }

  /** The retry advice that ships with the contract. */
  private static Map<String, ?> serviceConfig() throws IOException {
    Path path = Path.of("proto/annals/v1/annals_grpc_service_config.json");
    return new Gson()
        .fromJson(Files.readString(path), new TypeToken<Map<String, Object>>() {}.getType());
  }

  private static void report(String step, Step run) throws Exception {
    Map<String, Object> line = new LinkedHashMap<>();
    line.put("step", step);
    line.put("ok", true);
    line.putAll(run.run());
    System.out.println(new Gson().toJson(line));
  }

  /** A stub whose calls end within a bounded time. */
  private EventStoreServiceGrpc.EventStoreServiceBlockingStub client() {
    return EventStoreServiceGrpc.newBlockingStub(channel).withDeadlineAfter(60, TimeUnit.SECONDS);
  }

  private Map<String, Object> append() {
    return appended(client().append(firstRequest()));
  }

  private Map<String, Object> conflict() {
    AppendRequest request =
        AppendRequest.newBuilder()
            .setStream("order-1")
            .setExpectedVersion(0)
            .addEvents(event(3, "OrderPlaced"))
            .addExpectations(
                StreamExpectation.newBuilder()
                    .setStream("order-9")
                    .setExpectedState(StreamState.STREAM_STATE_EXISTS))
            .addConditions(
                AppendCondition.newBuilder()
                    .setQuery(Query.newBuilder().addItems(placedByFirstCustomer())))
            .build();
    return Failure.of(() -> client().append(request));
  }

  private Map<String, Object> idConflict() {
    AppendRequest request =
        AppendRequest.newBuilder()
            .setStream("order-1")
            .addEvents(
                event(1, "OrderPlaced")
                    .addTags("customer:c1")
                    .setData(ByteString.copyFromUtf8("something else")))
            .build();
    return Failure.of(() -> client().append(request));
  }

  private Map<String, Object> twoStreams() {
    AppendRequest request =
        AppendRequest.newBuilder()
            .setStream("order-2")
            .setExpectedState(StreamState.STREAM_STATE_ABSENT)
            .addEvents(event(4, "OrderPlaced").addTags("customer:c2"))
            .addEvents(event(5, "OrderShipped").setStream("order-1").addTags("customer:c1"))
            .addExpectations(
                StreamExpectation.newBuilder().setStream("order-1").setExpectedVersion(2))
            .build();
    return appended(client().append(request));
  }

  private Map<String, Object> pipe() throws Exception {
    List<Map<String, Object>> outcomes = new ArrayList<>();
    CompletableFuture<Void> done = new CompletableFuture<>();
    StreamObserver<AppendPipeRequest> requests =
        EventStoreServiceGrpc.newStub(channel)
            .withDeadlineAfter(60, TimeUnit.SECONDS)
            .appendPipe(
                new StreamObserver<>() {
                  @Override
                  public void onNext(AppendPipeResponse answer) {
                    outcomes.add(outcome(answer));
                  }

                  @Override
                  public void onError(Throwable error) {
                    done.completeExceptionally(error);
                  }

                  @Override
                  public void onCompleted() {
                    done.complete(null);
                  }
                });
    requests.onNext(piped(6, 0));
    requests.onNext(piped(7, 0));
    requests.onNext(piped(8, 1));
    requests.onCompleted();
    done.get(60, TimeUnit.SECONDS);
    return Map.of("outcomes", outcomes);
  }

  private static AppendPipeRequest piped(int number, long expected) {
    return AppendPipeRequest.newBuilder()
        .setAppend(
            AppendRequest.newBuilder()
                .setStream("pipe-1")
                .setExpectedVersion(expected)
                .addEvents(event(number, "Piped")))
        .build();
  }

  private static Map<String, Object> outcome(AppendPipeResponse answer) {
    Map<String, Object> found = new LinkedHashMap<>();
    found.put("sequence", answer.getSequence());
    if (answer.hasAppended()) {
      found.put("position", answer.getAppended().getLastPosition());
    } else {
      found.put("code", answer.getFailure().getCode());
      answer.getFailure().getDetailsList().forEach(detail -> Failure.describe(found, detail));
    }
    return found;
  }

  private Map<String, Object> readForwards() {
    Answer answer = read(ReadRequest.newBuilder().setStream("order-1").build());
    RecordedEvent first = answer.events.get(0);
    ReadEnd end = answer.end;
    Map<String, Object> found = new LinkedHashMap<>();
    found.put("versions", versions(answer.events));
    found.put("types", answer.events.stream().map(RecordedEvent::getType).toList());
    found.put("id", first.getId());
    found.put("data", first.getData().toStringUtf8());
    found.put("user", first.getMetadataOrThrow("user"));
    found.put("content_type", first.getContentType());
    found.put("tags", List.copyOf(first.getTagsList()));
    found.put("recorded", first.getRecordedAt().getSeconds() > 946_684_800);
    found.put(
        "end",
        List.of(end.getHead(), end.getAfter(), end.getEventCount(), end.getStreamVersion()));
    return found;
  }

  private Map<String, Object> readBackwards() {
    Answer answer =
        read(
            ReadRequest.newBuilder()
                .setDirection(Direction.DIRECTION_BACKWARDS)
                .setLimit(3)
                .build());
    return Map.of("positions", positions(answer.events), "head", answer.end.getHead());
  }

  private Map<String, Object> query() {
    Query wanted =
        Query.newBuilder()
            .addItems(placedByFirstCustomer())
            .addItems(QueryItem.newBuilder().addStreams("order-2"))
            .build();
    Answer answer = read(ReadRequest.newBuilder().setQuery(wanted).build());
    return Map.of("positions", positions(answer.events), "after", answer.end.getAfter());
  }

  private Map<String, Object> snapshot() {
    SaveSnapshotRequest save =
        SaveSnapshotRequest.newBuilder()
            .setStream("order-1")
            .setVersion(2)
            .setContentType("application/json")
            .setData(ByteString.copyFromUtf8("{\"status\":\"paid\"}"))
            .build();
    long position = client().saveSnapshot(save).getPosition();
    GetSnapshotRequest get = GetSnapshotRequest.newBuilder().setStream("order-1").build();
    var got = client().getSnapshot(get).getSnapshot();
    return Map.of(
        "position", position,
        "version", got.getVersion(),
        "data", got.getData().toStringUtf8(),
        "beyond",
            Failure.of(() -> client().saveSnapshot(save.toBuilder().setVersion(99).build())),
        "missing",
            Failure.of(() -> client().getSnapshot(get.toBuilder().setStream("order-2").build())));
  }

  private Map<String, Object> load() {
    Map<String, Object> found = new LinkedHashMap<>();
    List<RecordedEvent> events = new ArrayList<>();
    client()
        .load(LoadRequest.newBuilder().setStream("order-1").build())
        .forEachRemaining(
            answer -> {
              switch (answer.getMessageCase()) {
                case SNAPSHOT -> found.put("snapshot_version", answer.getSnapshot().getVersion());
                case BATCH -> events.addAll(answer.getBatch().getEventsList());
                case END -> {
                  found.put("version", answer.getEnd().getVersion());
                  found.put("head", answer.getEnd().getHead());
                }
                case MESSAGE_NOT_SET -> throw new AssertionError("an empty answer");
              }
            });
    found.put("versions", versions(events));
    return found;
  }

  private Map<String, Object> subscribe() throws Exception {
    SubscribeRequest request = SubscribeRequest.newBuilder().setStream("order-1").build();
    // A blocking call that is not read to its end is ended through the context it began in.
    Context.CancellableContext context = Context.current().withCancellation();
    Iterator<SubscribeResponse> messages = context.call(() -> client().subscribe(request));
    List<RecordedEvent> history = new ArrayList<>();
    long caughtUp = untilCaughtUp(messages, history);
    client()
        .append(
            AppendRequest.newBuilder()
                .setStream("order-1")
                .setExpectedVersion(3)
                .addEvents(event(9, "OrderClosed"))
                .build());
    List<RecordedEvent> live = nextEvents(messages);
    int before = subscribers();
    context.cancel(null);
    Map<String, Object> ended = endOf(messages);
    int after = before;
    while (after != 0) after = subscribers();
    return Map.of(
        "history", versions(history),
        "caught_up", caughtUp,
        "live", positions(live),
        "code", ended.get("code"),
        "subscribers", List.of(before, after));
  }

  private int subscribers() {
    return client()
        .getStream(GetStreamRequest.newBuilder().setStream("order-1").build())
        .getStream()
        .getSubscriberCount();
  }

  private Map<String, Object> deadline() {
    Iterator<SubscribeResponse> messages =
        client()
            .withDeadlineAfter(2, TimeUnit.SECONDS)
            .subscribe(SubscribeRequest.newBuilder().setStream("empty-1").build());
    long caughtUp = untilCaughtUp(messages, new ArrayList<>());
    return Map.of("caught_up", caughtUp, "code", endOf(messages).get("code"));
  }

  private Map<String, Object> large() {
    byte[] bytes = new byte[2 * 1024 * 1024];
    for (int index = 0; index < bytes.length; index++) bytes[index] = (byte) (index % 251);
    ByteString data = ByteString.copyFrom(bytes);
    AppendResponse appended =
        client()
            .append(
                AppendRequest.newBuilder()
                    .setStream("large-1")
                    .addEvents(event(10, "Scanned").setData(data))
                    .build());
    Answer answer = read(ReadRequest.newBuilder().setStream("large-1").build());
    ByteString back = answer.events.get(0).getData();
    return Map.of(
        "position", appended.getLastPosition(), "bytes", back.size(), "equal", back.equals(data));
  }

  private Map<String, Object> restart() throws Exception {
    List<RecordedEvent> seen = new ArrayList<>();
    Iterator<SubscribeResponse> messages = follow(7);
    long position = untilCaughtUp(messages, seen);
    System.out.println("RESTART");
    Map<String, Object> ended = endOf(messages);
    new BufferedReader(new InputStreamReader(System.in)).readLine();
    // The channel reconnects by itself; what is called before it has is retried.
    AppendResponse retried = client().append(firstRequest());
    reopen(11);
    List<RecordedEvent> resumed = new ArrayList<>();
    messages = follow(position);
    untilCaughtUp(messages, resumed);
    reopen(12);
    resumed.addAll(nextEvents(messages));
    return Map.of(
        "seen", positions(seen),
        "ended", ended,
        "retried", appended(retried),
        "resumed", positions(resumed));
  }

  private Iterator<SubscribeResponse> follow(long after) {
    return client().subscribe(SubscribeRequest.newBuilder().setAfterPosition(after).build());
  }

  private void reopen(int number) {
    client()
        .append(
            AppendRequest.newBuilder()
                .setStream("order-2")
                .addEvents(event(number, "OrderReopened"))
                .build());
  }

  private record Answer(List<RecordedEvent> events, ReadEnd end) {}

  private Answer read(ReadRequest request) {
    List<RecordedEvent> events = new ArrayList<>();
    ReadEnd[] end = new ReadEnd[1];
    client()
        .read(request)
        .forEachRemaining(
            answer -> {
              events.addAll(answer.getBatch().getEventsList());
              if (answer.hasEnd()) end[0] = answer.getEnd();
            });
    if (end[0] == null) throw new AssertionError("a read without its end was cut off");
    return new Answer(events, end[0]);
  }

  private static NewEvent.Builder event(int number, String type) {
    String id = String.format("00000000-0000-4000-8000-%012d", number);
    return NewEvent.newBuilder().setId(id).setType(type);
  }

  private static AppendRequest firstRequest() {
    return AppendRequest.newBuilder()
        .setStream("order-1")
        .setExpectedVersion(0)
        .addEvents(
            event(1, "OrderPlaced")
                .addTags("customer:c1")
                .putMetadata("user", "ada")
                .setContentType("application/json")
                .setData(ByteString.copyFromUtf8("{\"total\":10}")))
        .addEvents(
            event(2, "OrderPaid")
                .addTags("customer:c1")
                .setContentType("application/json")
                .setData(ByteString.copyFromUtf8("{\"paid\":true}")))
        .build();
  }

  private static QueryItem placedByFirstCustomer() {
    return QueryItem.newBuilder().addTypes("OrderPlaced").addTags("customer:c1").build();
  }

  private static Map<String, Object> appended(AppendResponse answer) {
    Map<String, Object> versions = new LinkedHashMap<>();
    answer
        .getStreamsList()
        .forEach(s -> versions.put(s.getStream(), List.of(s.getFirstVersion(), s.getLastVersion())));
    return Map.of(
        "positions", List.of(answer.getFirstPosition(), answer.getLastPosition()),
        "versions", versions,
        "deduplicated", answer.getDeduplicated());
  }

  private static List<Long> positions(List<RecordedEvent> events) {
    return events.stream().map(RecordedEvent::getPosition).toList();
  }

  private static List<Long> versions(List<RecordedEvent> events) {
    return events.stream().map(RecordedEvent::getVersion).toList();
  }

  /** Gathers events until the next caught_up and answers its position. */
  private static long untilCaughtUp(
      Iterator<SubscribeResponse> messages, List<RecordedEvent> events) {
    while (messages.hasNext()) {
      SubscribeResponse message = messages.next();
      events.addAll(message.getBatch().getEventsList());
      if (message.hasCaughtUp()) return message.getCaughtUp().getPosition();
    }
    throw new AssertionError("a subscription ends only with an error");
  }

  private static List<RecordedEvent> nextEvents(Iterator<SubscribeResponse> messages) {
    while (messages.hasNext()) {
      SubscribeResponse message = messages.next();
      if (message.hasBatch()) return message.getBatch().getEventsList();
    }
    throw new AssertionError("a subscription ends only with an error");
  }

  /** Reads on until the subscription ends, and says how. */
  private static Map<String, Object> endOf(Iterator<SubscribeResponse> messages) {
    return Failure.of(() -> messages.forEachRemaining(message -> {}));
  }
}
