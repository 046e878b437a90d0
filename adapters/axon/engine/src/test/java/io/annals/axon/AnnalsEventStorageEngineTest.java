package io.annals.axon;

import java.io.IOException;
import org.axonframework.eventsourcing.eventstore.StorageEngineTestSuite;
import org.axonframework.messaging.core.unitofwork.ProcessingContext;
import org.junit.jupiter.api.AfterAll;

/** The framework's suite of engines with dynamic consistency boundaries. */
class AnnalsEventStorageEngineTest extends StorageEngineTestSuite<AnnalsEventStorageEngine> {
  private final Server server = new Server();

  @Override
  protected AnnalsEventStorageEngine buildStorageEngine() {
    return new AnnalsEventStorageEngine(server.channel(), Server.CONVERTER);
  }

  @Override
  protected ProcessingContext processingContext() {
    // As in the framework's own test: one case looks at an append 50 ms after it began, done or not.
    return null;
  }

  @AfterAll
  void closeServer() throws IOException {
    server.close();
  }
}
