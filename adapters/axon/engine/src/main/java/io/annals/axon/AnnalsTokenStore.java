package io.annals.axon;

import io.annals.v1.CheckpointServiceGrpc;
import io.annals.v1.CheckpointServiceGrpc.CheckpointServiceBlockingStub;
import io.annals.v1.ConsumerCheckpoint;
import io.annals.v1.EventStoreServiceGrpc;
import io.annals.v1.GetCheckpointRequest;
import io.annals.v1.GetInfoRequest;
import io.annals.v1.SaveCheckpointRequest;
import io.grpc.Channel;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.stub.AbstractStub;
import jakarta.annotation.Nonnull;
import jakarta.annotation.Nullable;
import java.lang.management.ManagementFactory;
import java.net.URLDecoder;
import java.net.URLEncoder;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Base64;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.TimeUnit;
import java.util.function.Function;
import java.util.function.Supplier;
import org.axonframework.common.ClassUtils;
import org.axonframework.conversion.Converter;
import org.axonframework.messaging.core.unitofwork.ProcessingContext;
import org.axonframework.messaging.eventhandling.processing.streaming.segmenting.Segment;
import org.axonframework.messaging.eventhandling.processing.streaming.token.TrackingToken;
import org.axonframework.messaging.eventhandling.processing.streaming.token.store.TokenStore;
import org.axonframework.messaging.eventhandling.processing.streaming.token.store.UnableToClaimTokenException;
import org.axonframework.messaging.eventhandling.processing.streaming.token.store.UnableToInitializeTokenException;

/**
 * Keeps the tokens of event processors in Annals. All segments of a processor are one checkpoint,
 * {@code axon:NAME}, whose position counts its changes: each change expects the one before it, so that
 * of two nodes that claim a segment one gets it. At most 64 segments.
 */
public final class AnnalsTokenStore implements TokenStore {
  private static final String SOURCE = "axon-token-store";
  private static final int TRIES_MAX = 100;
  private static final long TIMEOUT_SECONDS = 30;

  private final CheckpointServiceBlockingStub checkpoints;
  private final Channel channel;
  private final Converter converter;
  private final String node;
  private final long claimMs;
  private final Map<String, Object> turns = new ConcurrentHashMap<>();

  public AnnalsTokenStore(Channel channel, Converter converter) {
    this(channel, converter, ManagementFactory.getRuntimeMXBean().getName(), Duration.ofSeconds(10));
  }

  /** @param claimTimeout after which another node may take a segment that its owner did not renew */
  public AnnalsTokenStore(Channel channel, Converter converter, String node, Duration claimTimeout) {
    this.checkpoints = CheckpointServiceGrpc.newBlockingStub(channel);
    this.channel = channel;
    this.converter = converter;
    this.node = node;
    this.claimMs = claimTimeout.toMillis();
  }

  @Nonnull
  @Override
  public CompletableFuture<List<Segment>> initializeTokenSegments(
      @Nonnull String processor, int count, @Nullable TrackingToken token, @Nullable ProcessingContext context) {
    return change(processor, segments -> {
      if (!segments.isEmpty()) throw new UnableToClaimTokenException(processor + " has segments already");
      List<Segment> created = Segment.splitBalanced(Segment.ROOT_SEGMENT, count - 1);
      created.forEach(segment -> segments.put(segment.getSegmentId(), free(segment, token)));
      return created;
    });
  }

  @Nonnull
  @Override
  public CompletableFuture<Void> initializeSegment(
      @Nullable TrackingToken token, @Nonnull String processor, @Nonnull Segment segment,
      @Nullable ProcessingContext context) {
    return change(processor, segments -> {
      if (segments.putIfAbsent(segment.getSegmentId(), free(segment, token)) == null) return null;
      throw new UnableToInitializeTokenException(processor + " has " + segment + " already");
    });
  }

  @Nonnull
  @Override
  public CompletableFuture<Void> storeToken(
      @Nullable TrackingToken token, @Nonnull String processor, int segment, @Nullable ProcessingContext context) {
    return change(processor, segments -> {
      segments.put(segment, claimed(segments, processor, segment).with(token, this));
      return null;
    });
  }

  @Nonnull
  @Override
  public CompletableFuture<TrackingToken> fetchToken(
      @Nonnull String processor, int segment, @Nullable ProcessingContext context) {
    return change(processor, segments -> claimed(segments, processor, segment).token(converter));
  }

  @Nonnull
  @Override
  public CompletableFuture<TrackingToken> fetchToken(
      @Nonnull String processor, @Nonnull Segment segment, @Nullable ProcessingContext context) {
    return change(processor, segments -> {
      if (!segments.containsKey(segment.mergeableSegmentId()) || segments.containsKey(segment.splitSegmentId())) {
        throw new UnableToClaimTokenException(segment + " of " + processor + " was merged or split");
      }
      return claimed(segments, processor, segment.getSegmentId()).token(converter);
    });
  }

  @Nonnull
  @Override
  public CompletableFuture<Void> extendClaim(
      @Nonnull String processor, int segment, @Nullable ProcessingContext context) {
    return change(processor, segments -> {
      owned(segments, processor, segment);
      claimed(segments, processor, segment);
      return null;
    });
  }

  @Nonnull
  @Override
  public CompletableFuture<Void> releaseClaim(
      @Nonnull String processor, int segment, @Nullable ProcessingContext context) {
    return change(processor, segments -> {
      segments.computeIfPresent(segment, (id, entry) -> entry.owner.equals(node) ? entry.ownedBy("") : entry);
      return null;
    });
  }

  @Nonnull
  @Override
  public CompletableFuture<Void> deleteToken(
      @Nonnull String processor, int segment, @Nullable ProcessingContext context) {
    return change(processor, segments -> {
      owned(segments, processor, segment);
      segments.remove(segment);
      return null;
    });
  }

  @Nonnull
  @Override
  public CompletableFuture<Segment> fetchSegment(
      @Nonnull String processor, int segment, @Nullable ProcessingContext context) {
    return change(processor, segments ->
        segments.containsKey(segment) ? new Segment(segment, segments.get(segment).mask) : null);
  }

  @Nonnull
  @Override
  public CompletableFuture<List<Segment>> fetchSegments(
      @Nonnull String processor, @Nullable ProcessingContext context) {
    return change(processor, segments -> segments(segments, entry -> true));
  }

  @Nonnull
  @Override
  public CompletableFuture<List<Segment>> fetchAvailableSegments(
      @Nonnull String processor, @Nullable ProcessingContext context) {
    return change(processor, segments -> segments(segments, this::isAvailable));
  }

  @Nonnull
  @Override
  public CompletableFuture<String> retrieveStorageIdentifier(@Nullable ProcessingContext context) {
    var store = patient(EventStoreServiceGrpc.newBlockingStub(channel));
    return attempt(() -> store.getInfo(GetInfoRequest.getDefaultInstance()).getStoreId());
  }

  private static List<Segment> segments(Map<Integer, Entry> all, Function<Entry, Boolean> wanted) {
    return all.entrySet().stream().filter(one -> wanted.apply(one.getValue()))
        .map(one -> new Segment(one.getKey(), one.getValue().mask)).toList();
  }

  private boolean isAvailable(Entry entry) {
    boolean expired = entry.since + claimMs < System.currentTimeMillis();
    return entry.owner.isEmpty() || entry.owner.equals(node) || expired;
  }

  private Entry claimed(Map<Integer, Entry> segments, String processor, int segment) {
    Entry entry = segments.get(segment);
    String name = processor + "[" + segment + "]";
    if (entry == null) throw new UnableToClaimTokenException(name + " does not exist");
    if (!isAvailable(entry)) throw new UnableToClaimTokenException(name + " is owned by " + entry.owner);
    segments.put(segment, entry.ownedBy(node));
    return segments.get(segment);
  }

  private void owned(Map<Integer, Entry> segments, String processor, int segment) {
    Entry entry = segments.get(segment);
    if (entry != null && entry.owner.equals(node)) return;
    throw new UnableToClaimTokenException(processor + "[" + segment + "] is not owned by " + node);
  }

  private Entry free(Segment segment, TrackingToken token) {
    return new Entry(segment.getMask(), 0, "", "", "").with(token, this);
  }

  /** Reads the segments and saves what became of them, again where another node was faster. */
  private <R> CompletableFuture<R> change(String processor, Function<TreeMap<Integer, Entry>, R> change) {
    return attempt(() -> {
      // The threads of this node take turns, so that they do not make one another try again.
      synchronized (turns.computeIfAbsent(processor, name -> new Object())) {
        return changed(processor, change);
      }
    });
  }

  private <R> R changed(String processor, Function<TreeMap<Integer, Entry>, R> change) {
    for (int tries = 0; tries < TRIES_MAX; tries++) {
      ConsumerCheckpoint saved = saved("axon:" + processor);
      TreeMap<Integer, Entry> segments = new TreeMap<>();
      saved.getMetadataMap().forEach((id, text) -> segments.put(Integer.valueOf(id), Entry.parsed(text)));
      TreeMap<Integer, Entry> before = new TreeMap<>(segments);
      R result = change.apply(segments);
      if (segments.equals(before) || isSaved(saved, segments)) return result;
    }
    throw new UnableToClaimTokenException("Other nodes keep changing the segments of " + processor);
  }

  private ConsumerCheckpoint saved(String consumer) {
    try {
      var request = GetCheckpointRequest.newBuilder().setConsumer(consumer).build();
      return patient(checkpoints).getCheckpoint(request).getCheckpoint();
    } catch (StatusRuntimeException error) {
      if (error.getStatus().getCode() != Status.Code.NOT_FOUND) throw error;
      return ConsumerCheckpoint.newBuilder().setConsumer(consumer).build();
    }
  }

  private boolean isSaved(ConsumerCheckpoint before, Map<Integer, Entry> segments) {
    var request = SaveCheckpointRequest.newBuilder()
        .setConsumer(before.getConsumer()).setSource(SOURCE).setPosition(before.getPosition() + 1);
    segments.forEach((id, entry) -> request.putMetadata(id.toString(), entry.text()));
    if (before.getPosition() == 0) request.setExpectedAbsent(true);
    else request.setExpectedPosition(before.getPosition());
    try {
      patient(checkpoints).saveCheckpoint(request.build());
      return true;
    } catch (StatusRuntimeException error) {
      if (error.getStatus().getCode() == Status.Code.ABORTED) return false;
      throw error;
    }
  }

  private static <S extends AbstractStub<S>> S patient(S stub) {
    return stub.withWaitForReady().withDeadlineAfter(TIMEOUT_SECONDS, TimeUnit.SECONDS);
  }

  private static <R> CompletableFuture<R> attempt(Supplier<R> action) {
    try {
      return CompletableFuture.completedFuture(action.get());
    } catch (RuntimeException error) {
      return CompletableFuture.failedFuture(error);
    }
  }

  /** A segment: who has claimed it (empty: nobody), when, and its token. */
  private record Entry(int mask, long since, String owner, String type, String token) {
    Entry ownedBy(String node) {
      return new Entry(mask, System.currentTimeMillis(), node, type, token);
    }

    Entry with(TrackingToken next, AnnalsTokenStore store) {
      if (next == null) return new Entry(mask, since, owner, "", "");
      byte[] bytes = store.converter.convert(next, byte[].class);
      return new Entry(mask, since, owner, next.getClass().getName(), Base64.getEncoder().encodeToString(bytes));
    }

    TrackingToken token(Converter converter) {
      if (type.isEmpty()) return null;
      return converter.convert(Base64.getDecoder().decode(token), ClassUtils.loadClass(type));
    }

    String text() {
      String who = URLEncoder.encode(owner, StandardCharsets.UTF_8);
      return String.join(" ", String.valueOf(mask), String.valueOf(since), who, type, token);
    }

    static Entry parsed(String text) {
      String[] part = text.split(" ", -1);
      String owner = URLDecoder.decode(part[2], StandardCharsets.UTF_8);
      return new Entry(Integer.parseInt(part[0]), Long.parseLong(part[1]), owner, part[3], part[4]);
    }
  }
}
