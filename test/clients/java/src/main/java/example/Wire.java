package example;

import com.google.gson.Gson;
import com.google.protobuf.ByteString;
import com.google.protobuf.Empty;
import com.google.rpc.ErrorInfo;
import io.annals.v1.AppendConflict;
import io.annals.v1.AppendPipeRequest;
import io.annals.v1.AppendPipeResponse;
import io.annals.v1.AppendRequest;
import io.annals.v1.AppendResponse;
import io.annals.v1.EventStoreServiceGrpc;
import io.annals.v1.GetInfoRequest;
import io.annals.v1.GetInfoResponse;
import io.annals.v1.GetStreamRequest;
import io.annals.v1.NewEvent;
import io.annals.v1.ReadRequest;
import io.annals.v1.RecordedEvent;
import io.annals.v1.SubscribeRequest;
import io.annals.v1.SubscribeResponse;
import io.grpc.CallOptions;
import io.grpc.ManagedChannel;
import io.grpc.ManagedChannelBuilder;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import io.grpc.StatusRuntimeException;
import io.grpc.netty.shaded.io.grpc.netty.NettyChannelBuilder;
import io.grpc.okhttp.OkHttpChannelBuilder;
import io.grpc.protobuf.StatusProto;
import io.grpc.stub.ClientCalls;
import io.grpc.stub.MetadataUtils;
import io.grpc.stub.StreamObserver;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;

/** The conversation of test/clients/wire-conversation.ts, over netty or over okhttp. */
public final class Wire {
  private interface Step {
    Map<String, Object> run() throws Exception;
  }

  private static final int STEP_SECONDS = 100;
  private final ManagedChannel channel;

  private Wire(ManagedChannel channel) {
    this.channel = channel;
  }

  public static void main(String[] arguments) throws Exception {
    String address = System.getenv("ANNALS_ADDRESS");
    ManagedChannelBuilder<?> builder =
        arguments[0].equals("okhttp")
            ? OkHttpChannelBuilder.forTarget(address)
            : NettyChannelBuilder.forTarget(address);
    ManagedChannel channel = builder.usePlaintext().build();
    Wire wire = new Wire(channel);
    report("conflict", wire::conflict);
    report("retry", wire::retry);
    report("unknown", wire::unknown);
    report("gzip", wire::gzip);
    report("large", wire::large);
    report("early", wire::early);
    report("pipe", wire::pipe);
    report("turns", wire::turns);
    report("live", wire::live);
    report("deadline", wire::deadline);
    report("metadata", wire::metadata);
    report("streams", wire::streams);
    report("restart", wire::restart);
    channel.shutdownNow().awaitTermination(10, TimeUnit.SECONDS);
    System.exit(0);
  }

  private static void report(String step, Step run) throws Exception {
    Map<String, Object> line = new LinkedHashMap<>();
    line.put("step", step);
    line.put("ok", true);
    line.putAll(run.run());
    System.out.println(new Gson().toJson(line));
  }

  private static int number(String name) {
    return Integer.parseInt(System.getenv(name));
  }

  private static String id(int number) {
    return String.format("00000000-0000-4000-8000-%012d", number);
  }

  private static AppendRequest.Builder request(String stream, int first, int... sizes) {
    AppendRequest.Builder asked = AppendRequest.newBuilder().setStream(stream);
    for (int index = 0; index < sizes.length; index++) {
      ByteString data = ByteString.copyFromUtf8("a".repeat(sizes[index]));
      asked.addEvents(NewEvent.newBuilder().setId(id(first + index)).setType("T").setData(data));
    }
    return asked;
  }

  private EventStoreServiceGrpc.EventStoreServiceBlockingStub client() {
    return EventStoreServiceGrpc.newBlockingStub(channel)
        .withDeadlineAfter(STEP_SECONDS, TimeUnit.SECONDS);
  }

  private AppendResponse store(AppendRequest.Builder asked) {
    return client().append(asked.build());
  }

  private static Throwable failure(Runnable call) {
    try {
      call.run();
    } catch (StatusRuntimeException error) {
      return error;
    }
    throw new AssertionError("expected an error");
  }

  private static int codeOf(Throwable error) {
    return io.grpc.Status.fromThrowable(error).getCode().value();
  }

  private static Map<String, Object> typed(Throwable error) throws Exception {
    Map<String, Object> found = new LinkedHashMap<>(Map.of("code", codeOf(error)));
    com.google.rpc.Status status = StatusProto.fromThrowable(error);
    if (status == null) return found;
    for (com.google.protobuf.Any detail : status.getDetailsList()) {
      if (detail.is(ErrorInfo.class)) {
        found.put("reason", detail.unpack(ErrorInfo.class).getReason());
      } else if (detail.is(AppendConflict.class)) {
        found.put("actual", detail.unpack(AppendConflict.class).getStreams(0).getActualVersion());
      }
    }
    return found;
  }

  private Map<String, Object> conflict() throws Exception {
    AppendResponse answer = store(request("wire-1", 1, 1).setExpectedVersion(0));
    Throwable error = failure(() -> store(request("wire-1", 2, 1).setExpectedVersion(0)));
    return Map.of("position", answer.getLastPosition(), "conflict", typed(error));
  }

  private Map<String, Object> retry() {
    AppendResponse answer = store(request("wire-1", 1, 1).setExpectedVersion(0));
    return Map.of("position", answer.getLastPosition(), "deduplicated", answer.getDeduplicated());
  }

  private Map<String, Object> unknown() {
    MethodDescriptor<GetInfoRequest, GetInfoResponse> nothing =
        EventStoreServiceGrpc.getGetInfoMethod().toBuilder()
            .setFullMethodName("annals.v1.EventStoreService/Nothing")
            .build();
    GetInfoRequest asked = GetInfoRequest.getDefaultInstance();
    Runnable call =
        () -> ClientCalls.blockingUnaryCall(channel, nothing, CallOptions.DEFAULT, asked);
    return Map.of("code", codeOf(failure(call)));
  }

  private List<RecordedEvent> read(
      EventStoreServiceGrpc.EventStoreServiceBlockingStub client, String stream) {
    List<RecordedEvent> events = new ArrayList<>();
    client
        .read(ReadRequest.newBuilder().setStream(stream).build())
        .forEachRemaining(answer -> events.addAll(answer.getBatch().getEventsList()));
    return events;
  }

  private Map<String, Object> gzip() {
    EventStoreServiceGrpc.EventStoreServiceBlockingStub gzip = client().withCompression("gzip");
    AppendResponse answer = gzip.append(request("gzip", 10, 1 << 20).build());
    int bytes = read(gzip, "gzip").get(0).getData().size();
    return Map.of("position", answer.getLastPosition(), "bytes", bytes);
  }

  private Map<String, Object> large() {
    store(request("large", 20, 3_140_000, 940_000));
    List<Integer> lengths = new ArrayList<>();
    read(client(), "large").forEach(event -> lengths.add(event.getData().size()));
    return Map.of("lengths", lengths);
  }

  private Map<String, Object> early() {
    Throwable error = failure(() -> store(request("early", 30, 9 << 20)));
    long position = store(request("early", 31, 1)).getLastPosition();
    return Map.of("code", codeOf(error), "position", position);
  }

  /** What comes of a call, to be taken one by one. */
  private static final class Messages<T> implements StreamObserver<T> {
    private final BlockingQueue<Object> queue = new LinkedBlockingQueue<>();

    @Override
    public void onNext(T message) {
      queue.add(message);
    }

    @Override
    public void onError(Throwable error) {
      queue.add(error);
    }

    @Override
    public void onCompleted() {
      queue.add(this);
    }

    /** A message; null at the end. Throws the call's error. */
    @SuppressWarnings("unchecked")
    T next() throws Exception {
      Object next = queue.take();
      if (next instanceof StatusRuntimeException error) throw error;
      return next == this ? null : (T) next;
    }

    Throwable end() throws Exception {
      try {
        while (next() != null) continue;
      } catch (StatusRuntimeException error) {
        return error;
      }
      throw new AssertionError("expected an error");
    }
  }

  private static AppendPipeRequest piped(AppendRequest.Builder asked) {
    return AppendPipeRequest.newBuilder().setAppend(asked).build();
  }

  private Map<String, Object> pipe() throws Exception {
    Messages<AppendPipeResponse> answers = new Messages<>();
    StreamObserver<AppendPipeRequest> pipe =
        EventStoreServiceGrpc.newStub(channel).appendPipe(answers);
    int[] versions = {0, 0, 1};
    for (int index = 0; index < versions.length; index++) {
      pipe.onNext(piped(request("wire-2", 40 + index, 1).setExpectedVersion(versions[index])));
    }
    pipe.onCompleted();
    List<Integer> codes = new ArrayList<>();
    for (AppendPipeResponse answer; (answer = answers.next()) != null; ) {
      codes.add(answer.getFailure().getCode());
    }
    return Map.of("codes", codes, "end", 0);
  }

  private Map<String, Object> turns() throws Exception {
    Messages<AppendPipeResponse> answers = new Messages<>();
    StreamObserver<AppendPipeRequest> pipe =
        EventStoreServiceGrpc.newStub(channel).appendPipe(answers);
    int count = 0;
    for (int turn = 0; turn < 20; turn++) {
      pipe.onNext(piped(request("wire-2", 50 + turn, 1)));
      if (answers.next() != null) count++;
    }
    pipe.onError(io.grpc.Status.CANCELLED.asException());
    return Map.of("answers", count, "end", codeOf(answers.end()));
  }

  /** A subscription that can be cancelled. */
  private final class Following {
    final Messages<SubscribeResponse> messages = new Messages<>();
    final io.grpc.Context.CancellableContext context = io.grpc.Context.current().withCancellation();

    Following(SubscribeRequest.Builder asked, int seconds) {
      context.run(
          () ->
              EventStoreServiceGrpc.newStub(channel)
                  .withDeadlineAfter(seconds, TimeUnit.SECONDS)
                  .subscribe(asked.build(), messages));
    }

    Following untilCaughtUp() throws Exception {
      while (!messages.next().hasCaughtUp()) continue;
      return this;
    }

    int nextEvents() throws Exception {
      for (; ; ) {
        SubscribeResponse message = messages.next();
        if (message.hasBatch()) return message.getBatch().getEventsCount();
      }
    }

    Throwable cancel() throws Exception {
      context.cancel(null);
      return messages.end();
    }
  }

  private Following follow(String stream, int seconds) {
    return new Following(SubscribeRequest.newBuilder().setStream(stream), seconds);
  }

  private int subscribers(String stream) {
    return client()
        .getStream(GetStreamRequest.newBuilder().setStream(stream).build())
        .getStream()
        .getSubscriberCount();
  }

  private int untilForgotten(String stream) throws Exception {
    while (subscribers(stream) != 0) Thread.sleep(10);
    return 0;
  }

  private Map<String, Object> live() throws Exception {
    Following following = follow("wire-3", STEP_SECONDS).untilCaughtUp();
    store(request("wire-3", 80, 1));
    int events = following.nextEvents();
    int before = subscribers("wire-3");
    int end = codeOf(following.cancel());
    List<Integer> counts = List.of(before, untilForgotten("wire-3"));
    return Map.of("live", events, "end", end, "subscribers", counts);
  }

  private Map<String, Object> deadline() throws Exception {
    return Map.of("end", codeOf(follow("wire-4", 1).messages.end()));
  }

  private int codeWith(int fields) {
    Metadata metadata = new Metadata();
    for (int index = 0; index < fields; index++) {
      Metadata.Key<String> key =
          Metadata.Key.of("x-" + index, Metadata.ASCII_STRING_MARSHALLER);
      metadata.put(key, "m".repeat(1_000));
    }
    try {
      client()
          .withInterceptors(MetadataUtils.newAttachHeadersInterceptor(metadata))
          .getInfo(GetInfoRequest.getDefaultInstance());
      return 0;
    } catch (StatusRuntimeException error) {
      System.err.println(error);
      return codeOf(error);
    }
  }

  private Map<String, Object> metadata() {
    return Map.of(
        "taken", codeWith(number("WIRE_FIELDS_TAKEN")),
        "refused", codeWith(number("WIRE_FIELDS_REFUSED")),
        "after", codeWith(0));
  }

  private Map<String, Object> streams() throws Exception {
    List<Following> all = new ArrayList<>();
    for (int index = 0; index < number("WIRE_STREAMS"); index++) {
      all.add(follow("wire-5", STEP_SECONDS));
    }
    for (Following each : all) each.untilCaughtUp();
    store(request("wire-5", 90, 1));
    int events = 0;
    for (Following each : all) events += each.nextEvents();
    for (Following each : all) each.cancel();
    return Map.of("open", all.size(), "live", events, "left", untilForgotten("wire-5"));
  }

  private Map<String, Object> restart() throws Exception {
    SubscribeRequest.Builder fromEnd =
        SubscribeRequest.newBuilder().setFromEnd(Empty.getDefaultInstance());
    Following following = new Following(fromEnd, STEP_SECONDS).untilCaughtUp();
    AtomicBoolean isBack = new AtomicBoolean();
    System.out.println("RESTART");
    Thread reader =
        new Thread(
            () -> {
              try {
                isBack.set(System.in.read() >= 0);
              } catch (java.io.IOException error) {
                throw new IllegalStateException(error);
              }
            });
    reader.start();
    TreeSet<Integer> others = new TreeSet<>();
    int acknowledged = 0;
    for (int after = 0; after < 20; ) {
      try {
        client()
            .withDeadlineAfter(20, TimeUnit.SECONDS)
            .append(request("wire-6", 1_000 + acknowledged, 1).build());
        acknowledged++;
        if (isBack.get()) after++;
      } catch (StatusRuntimeException error) {
        if (codeOf(error) != 14) others.add(codeOf(error));
        Thread.sleep(20);
      }
    }
    List<RecordedEvent> events = read(client(), "wire-6");
    boolean isWhole = events.size() == acknowledged;
    for (int index = 0; index < events.size(); index++) {
      isWhole &= events.get(index).getId().equals(id(1_000 + index));
    }
    return Map.of(
        "end", typed(following.messages.end()), "others", others, "isWhole", isWhole);
  }
}
