#!/usr/bin/env bash
# In Axon Framework 5.0.1, a publication outside a unit of work reports success before its commit, and also
# where the commit fails.
#
# Versions: org.axonframework:axon-eventsourcing 5.0.1 (Maven), Java 21 or newer, found by looking.
# Guess:    the future of `EventStore.publish(null, events)` completes when the events are stored, or with the
#           error of the storage engine.
# Seen:     the event store makes a future of the commit and completes its own without it. The engine of
#           this script needs a second and then fails: the publisher has long been told that all is well, and
#           the failure is told to nobody. With a synchronous engine nobody notices. An engine can help itself:
#           it waits in `commit` and throws where the context is null.
# Output:   published: true; the commit was finished: false; then it failed: true
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

# The first JDK that is new enough.
for home in "${JAVA_HOME:-}" /usr/lib/jvm/* "$HOME"/.sdkman/candidates/java/*; do
  version=$(sed -n 's/^JAVA_VERSION="\([0-9]*\).*/\1/p' "$home/release" 2>/dev/null || true)
  if [ -x "$home/bin/javac" ] && [ "${version:-0}" -ge 21 ]; then break; fi
done
export JAVA_HOME=$home

cat >pom.xml <<'END'
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>seen</groupId>
  <artifactId>seen</artifactId>
  <version>1</version>
  <dependencies>
    <dependency>
      <groupId>org.axonframework</groupId>
      <artifactId>axon-eventsourcing</artifactId>
      <version>5.0.1</version>
    </dependency>
    <dependency>
      <groupId>jakarta.annotation</groupId>
      <artifactId>jakarta.annotation-api</artifactId>
      <version>3.0.0</version>
    </dependency>
    <dependency>
      <groupId>org.slf4j</groupId>
      <artifactId>slf4j-nop</artifactId>
      <version>2.0.17</version>
    </dependency>
  </dependencies>
</project>
END
mvn --batch-mode --quiet dependency:copy-dependencies -DoutputDirectory=lib >/dev/null

cat >Seen.java <<'END'
import java.util.List;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import org.axonframework.eventsourcing.eventstore.AppendCondition;
import org.axonframework.eventsourcing.eventstore.ConsistencyMarker;
import org.axonframework.eventsourcing.eventstore.StorageEngineBackedEventStore;
import org.axonframework.eventsourcing.eventstore.TaggedEventMessage;
import org.axonframework.eventsourcing.eventstore.inmemory.InMemoryEventStorageEngine;
import org.axonframework.messaging.core.MessageType;
import org.axonframework.messaging.core.unitofwork.ProcessingContext;
import org.axonframework.messaging.eventhandling.EventMessage;
import org.axonframework.messaging.eventhandling.GenericEventMessage;
import org.axonframework.messaging.eventhandling.SimpleEventBus;

public class Seen {
  static final CompletableFuture<Object> commit = new CompletableFuture<>();

  static class Failing extends InMemoryEventStorageEngine {
    @Override
    public CompletableFuture<AppendTransaction<?>> appendEvents(
        AppendCondition condition, ProcessingContext context, List<TaggedEventMessage<?>> events) {
      return CompletableFuture.completedFuture(new AppendTransaction<Object>() {
        @Override
        public CompletableFuture<Object> commit(ProcessingContext context) {
          var later = CompletableFuture.delayedExecutor(1, TimeUnit.SECONDS);
          later.execute(() -> commit.completeExceptionally(new IllegalStateException("the disk is full")));
          return commit;
        }

        @Override
        public CompletableFuture<ConsistencyMarker> afterCommit(Object stored, ProcessingContext context) {
          return CompletableFuture.completedFuture(ConsistencyMarker.ORIGIN);
        }

        @Override
        public void rollback(ProcessingContext context) {}
      });
    }
  }

  public static void main(String[] arguments) throws Exception {
    var store = new StorageEngineBackedEventStore(new Failing(), new SimpleEventBus(), event -> Set.of());
    List<EventMessage> events = List.of(new GenericEventMessage(new MessageType("paid"), "100"));
    var published = store.publish(null, events);
    System.out.print("published: " + (published.isDone() && !published.isCompletedExceptionally()));
    System.out.print("; the commit was finished: " + commit.isDone());
    while (!commit.isDone()) Thread.sleep(50);
    System.out.println("; then it failed: " + (commit.isCompletedExceptionally() && !published.isCompletedExceptionally()));
    System.exit(0);
  }
}
END
"$JAVA_HOME/bin/javac" -cp "lib/*" -d classes Seen.java
"$JAVA_HOME/bin/java" -Daxoniq.update-checker.disabled=true -cp "classes:lib/*" Seen | tee seen
diff seen - <<'END'
published: true; the commit was finished: false; then it failed: true
END
echo "as written"
