#!/usr/bin/env bash
# In Axon Framework 5.0.1, an event that is named by its annotation reaches no event processor.
#
# Versions: org.axonframework:axon-eventsourcing 5.0.1 (Maven), Java 21 or newer, found by looking.
# Guess:    `@Event(name = "Opened")` on a class names its events for those who store them and for those who
#           handle them, since both know the class.
# Seen:     the event is stored as "Opened" in the class's package. The handler's method is registered under
#           the class's name, and a processor asks its store for that name alone. Nothing is logged, and the
#           processor's token moves on. `@EventHandler(eventName = ...)` with the whole name helps.
# Output:   published named.Opened, named.ClassClosed; handled ClassClosed, ClassNamed.
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

mkdir named
cat >named/ClassOpened.java <<'END'
package named;

@org.axonframework.messaging.eventhandling.annotation.Event(name = "Opened")
public record ClassOpened() {}
END
cat >named/ClassNamed.java <<'END'
package named;

@org.axonframework.messaging.eventhandling.annotation.Event(name = "Named")
public record ClassNamed() {}
END
cat >named/ClassClosed.java <<'END'
package named;

public record ClassClosed() {}
END
cat >named/Seen.java <<'END'
package named;

import java.util.List;
import java.util.concurrent.ConcurrentSkipListSet;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.axonframework.eventsourcing.configuration.EventSourcingConfigurer;
import org.axonframework.messaging.core.MessageTypeResolver;
import org.axonframework.messaging.eventhandling.annotation.EventHandler;
import org.axonframework.messaging.eventhandling.configuration.EventProcessorModule;
import org.axonframework.messaging.eventhandling.gateway.EventGateway;

public class Seen {
  static final ConcurrentSkipListSet<String> handled = new ConcurrentSkipListSet<>();
  static final CountDownLatch last = new CountDownLatch(1);

  public static class Handler {
    @EventHandler
    void on(ClassOpened event) {
      handled.add("ClassOpened");
    }

    @EventHandler(eventName = "named.Named")
    void on(ClassNamed event) {
      handled.add("ClassNamed");
    }

    @EventHandler
    void on(ClassClosed event) {
      handled.add("ClassClosed");
      last.countDown();
    }
  }

  public static void main(String[] arguments) throws Exception {
    var processor = EventProcessorModule.pooledStreaming("seen")
        .eventHandlingComponents(components -> components.autodetected(own -> new Handler()))
        .customized((own, settings) -> settings.initialSegmentCount(1));
    var axon = EventSourcingConfigurer.create()
        .messaging(messaging -> messaging.eventProcessing(processing ->
            processing.pooledStreaming(streaming -> streaming.processor(processor))))
        .start();
    var types = axon.getComponent(MessageTypeResolver.class);
    System.out.println("published " + types.resolveOrThrow(ClassOpened.class).name()
        + ", " + types.resolveOrThrow(ClassClosed.class).name());
    axon.getComponent(EventGateway.class)
        .publish(null, List.of(new ClassOpened(), new ClassNamed(), new ClassClosed())).get();
    // One segment handles events in their order: what comes before the last one has had its turn.
    if (!last.await(1, TimeUnit.MINUTES)) throw new IllegalStateException("the last event did not come");
    System.out.println("handled " + String.join(", ", handled));
    axon.shutdown();
    System.exit(0);
  }
}
END
"$JAVA_HOME/bin/javac" -parameters -cp "lib/*" -d classes named/*.java
"$JAVA_HOME/bin/java" -Daxoniq.update-checker.disabled=true -cp "classes:lib/*" named.Seen | tee seen
diff seen - <<'END'
published named.Opened, named.ClassClosed
handled ClassClosed, ClassNamed
END
echo "as written"
