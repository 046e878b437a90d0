package io.annals.axon;

import java.io.IOException;
import org.axonframework.eventsourcing.eventstore.AggregateBasedStorageEngineTestSuite;
import org.axonframework.messaging.core.unitofwork.ProcessingContext;
import org.axonframework.messaging.core.unitofwork.StubProcessingContext;
import org.axonframework.messaging.eventhandling.EventMessage;
import org.axonframework.messaging.eventhandling.processing.streaming.token.TrackingToken;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.extension.BeforeEachCallback;
import org.junit.jupiter.api.extension.RegisterExtension;

/** The framework's suite of engines with a stream for each aggregate. */
class AggregateBasedAnnalsEventStorageEngineTest
    extends AggregateBasedStorageEngineTestSuite<AggregateBasedAnnalsEventStorageEngine> {
  private static Server server;

  /** Some cases want an empty store, and say so in their names. */
  @RegisterExtension
  static final BeforeEachCallback emptied = test -> {
    if (server != null && !test.getDisplayName().contains("Empty")) return;
    closeServer();
    server = new Server();
  };

  private long base;

  @Override
  protected AggregateBasedAnnalsEventStorageEngine buildStorageEngine() {
    var engine = new AggregateBasedAnnalsEventStorageEngine(server.channel(), Server.CONVERTER);
    base = engine.latestToken(null).join().position().orElseThrow();
    return engine;
  }

  @Override
  protected ProcessingContext processingContext() {
    return new StubProcessingContext();
  }

  @Override
  protected long globalSequenceOfEvent(long position) {
    return base + position;
  }

  @Override
  protected TrackingToken trackingTokenAt(long position) {
    return new AnnalsTrackingToken(base + position, "");
  }

  @Override
  protected EventMessage convertPayload(EventMessage original) {
    return original.withConvertedPayload(String.class, converter);
  }

  @AfterAll
  static void closeServer() throws IOException {
    if (server != null) server.close();
  }
}
