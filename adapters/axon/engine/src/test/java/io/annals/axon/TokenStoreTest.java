package io.annals.axon;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.time.Duration;
import java.util.List;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Executors;
import java.util.stream.IntStream;
import org.axonframework.conversion.json.JacksonConverter;
import org.axonframework.messaging.eventhandling.processing.streaming.segmenting.Segment;
import org.axonframework.messaging.eventhandling.processing.streaming.token.MergedTrackingToken;
import org.axonframework.messaging.eventhandling.processing.streaming.token.ReplayToken;
import org.axonframework.messaging.eventhandling.processing.streaming.token.TrackingToken;
import org.axonframework.messaging.eventhandling.processing.streaming.token.store.UnableToClaimTokenException;
import org.axonframework.messaging.eventhandling.processing.streaming.token.store.UnableToInitializeTokenException;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** What event processors expect of a store of tokens, with several nodes. */
class TokenStoreTest {
  private static final TrackingToken TOKEN = new AnnalsTrackingToken(17, "0123456789abcdef");

  private static Server server;

  private final String processor = "projection " + UUID.randomUUID();
  private final AnnalsTokenStore one = node("one", Duration.ofMinutes(1));
  private final AnnalsTokenStore two = node("two", Duration.ofMinutes(1));

  @BeforeAll
  static void startServer() {
    server = new Server();
  }

  @AfterAll
  static void closeServer() throws IOException {
    server.close();
  }

  private static AnnalsTokenStore node(String name, Duration claimTimeout) {
    return new AnnalsTokenStore(server.channel(), new JacksonConverter(), name, claimTimeout);
  }

  @Test
  void aSegmentBelongsToTheNodeThatClaimedIt() {
    assertThat(one.fetchSegments(processor, null).join()).isEmpty();
    List<Segment> segments = one.initializeTokenSegments(processor, 2, TOKEN, null).join();
    assertThat(segments).hasSize(2).isEqualTo(two.fetchSegments(processor, null).join());
    assertThatThrownBy(() -> two.initializeTokenSegments(processor, 2, null, null).join())
        .hasCauseInstanceOf(UnableToClaimTokenException.class);

    TrackingToken fetched = one.fetchToken(processor, segments.get(0), null).join();
    assertThat(fetched).isEqualTo(TOKEN).extracting("epoch").isEqualTo("0123456789abcdef");
    assertThat(two.fetchAvailableSegments(processor, null).join()).containsExactly(segments.get(1));
    assertThatThrownBy(() -> two.fetchToken(processor, 0, null).join())
        .hasCauseInstanceOf(UnableToClaimTokenException.class);
    assertThatThrownBy(() -> two.storeToken(TOKEN, processor, 0, null).join())
        .hasCauseInstanceOf(UnableToClaimTokenException.class);
    assertThatThrownBy(() -> two.extendClaim(processor, 0, null).join())
        .hasCauseInstanceOf(UnableToClaimTokenException.class);
    assertThatThrownBy(() -> two.deleteToken(processor, 0, null).join())
        .hasCauseInstanceOf(UnableToClaimTokenException.class);
    two.releaseClaim(processor, 0, null).join();

    one.storeToken(null, processor, 0, null).join();
    one.extendClaim(processor, 0, null).join();
    one.releaseClaim(processor, 0, null).join();
    assertThat(two.fetchToken(processor, 0, null).join()).isNull();
    two.deleteToken(processor, 0, null).join();
    assertThat(two.fetchSegment(processor, 0, null).join()).isNull();
    assertThatThrownBy(() -> two.fetchToken(processor, 0, null).join())
        .hasCauseInstanceOf(UnableToClaimTokenException.class);
    // The other half is no whole processor.
    assertThatThrownBy(() -> two.fetchToken(processor, segments.get(1), null).join())
        .hasCauseInstanceOf(UnableToClaimTokenException.class);
  }

  @Test
  void aClaimThatWasNotRenewedIsFree() {
    AnnalsTokenStore hasty = node("hasty", Duration.ofMillis(-1));
    one.initializeTokenSegments(processor, 1, null, null).join();
    one.fetchToken(processor, 0, null).join();
    hasty.fetchToken(processor, 0, null).join();
    assertThatThrownBy(() -> one.extendClaim(processor, 0, null).join())
        .hasCauseInstanceOf(UnableToClaimTokenException.class);
  }

  @Test
  void everyKindOfTokenComesBack() {
    one.initializeTokenSegments(processor, 1, null, null).join();
    TrackingToken later = new AnnalsTrackingToken(20, "0123456789abcdef");
    for (TrackingToken token : List.of(
        TOKEN, ReplayToken.createReplayToken(later, TOKEN), new MergedTrackingToken(TOKEN, later))) {
      one.storeToken(token, processor, 0, null).join();
      assertThat(one.fetchToken(processor, 0, null).join()).isEqualTo(token);
    }
  }

  @Test
  void aSegmentIsSplitOnce() {
    one.initializeTokenSegments(processor, 1, TOKEN, null).join();
    Segment half = new Segment(1, 1);
    one.initializeSegment(TOKEN, processor, half, null).join();
    assertThatThrownBy(() -> two.initializeSegment(TOKEN, processor, half, null).join())
        .hasCauseInstanceOf(UnableToInitializeTokenException.class);
    assertThatThrownBy(() -> two.fetchToken(processor, Segment.ROOT_SEGMENT, null).join())
        .hasCauseInstanceOf(UnableToClaimTokenException.class);
  }

  @Test
  void ofManyNodesAtOnceEachSegmentGetsOne() {
    one.initializeTokenSegments(processor, 4, TOKEN, null).join();
    try (var threads = Executors.newVirtualThreadPerTaskExecutor()) {
      var claims = IntStream.range(0, 24).mapToObj(i -> CompletableFuture.supplyAsync(() -> {
        AnnalsTokenStore node = node("node " + i, Duration.ofMinutes(1));
        return node.fetchToken(processor, i % 4, null).isCompletedExceptionally() ? 0 : 1;
      }, threads)).toList();
      assertThat(claims.stream().mapToInt(CompletableFuture::join).sum()).isEqualTo(4);
    }
  }

  @Test
  void theStoreIsNamedByItsIdentity() {
    String id = one.retrieveStorageIdentifier(null).join();
    assertThat(id).hasSize(36).isEqualTo(two.retrieveStorageIdentifier(null).join());
  }
}
