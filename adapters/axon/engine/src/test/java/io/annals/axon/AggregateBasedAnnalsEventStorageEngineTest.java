package io.annals.axon;

import java.io.IOException;
import java.util.Comparator;
import org.axonframework.eventsourcing.eventstore.AggregateBasedStorageEngineTestSuite;
import org.axonframework.messaging.core.unitofwork.ProcessingContext;
import org.axonframework.messaging.core.unitofwork.StubProcessingContext;
import org.axonframework.messaging.eventhandling.EventMessage;
import org.axonframework.messaging.eventhandling.processing.streaming.token.TrackingToken;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.MethodDescriptor;
import org.junit.jupiter.api.MethodOrderer;
import org.junit.jupiter.api.MethodOrdererContext;
import org.junit.jupiter.api.TestMethodOrder;

/** The framework's suite of engines with a stream for each aggregate; first the cases that want an empty store. */
@TestMethodOrder(AggregateBasedAnnalsEventStorageEngineTest.EmptyFirst.class)
class AggregateBasedAnnalsEventStorageEngineTest
    extends AggregateBasedStorageEngineTestSuite<AggregateBasedAnnalsEventStorageEngine> {
  private static Server server;

  @BeforeAll
  static void startServer() {
    server = new Server();
  }

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
    server.close();
  }

  static class EmptyFirst implements MethodOrderer {
    @Override
    public void orderMethods(MethodOrdererContext cases) {
      cases.getMethodDescriptors().sort(
          Comparator.comparing((MethodDescriptor one) -> !one.getMethod().getName().contains("EmptyStore")));
    }
  }
}
