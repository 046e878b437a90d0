#!/usr/bin/env bash
# Two stores in memory that come with their frameworks, Axon's and the default one of the npm package
# eventstore, store two events of one aggregate under one number: both of two writers win.
#
# Versions: org.axonframework:axon-eventsourcing 4.13.0 (Maven), eventstore 1.15.5 (npm), Java 17, Node 20.20.
# Guess:    the optimistic check is the store's first duty, so that the engine for tests has it as the ones
#           on a database have.
# Seen:     Axon's InMemoryEventStorageEngine keeps what it is given, in the order it came, also a number
#           behind the newest, and the same event twice. eventstore counts from the revision that the writer
#           read. A test of two concurrent commands is green and says nothing.
# Output:   as below.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

npm init --yes >/dev/null
npm install --silent --ignore-scripts --no-audit --no-fund eventstore@1.15.5
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
      <version>4.13.0</version>
    </dependency>
  </dependencies>
</project>
END
mvn --batch-mode --quiet dependency:copy-dependencies -DoutputDirectory=lib

cat >Seen.java <<'END'
import java.util.stream.Collectors;
import org.axonframework.eventhandling.GenericDomainEventMessage;
import org.axonframework.eventsourcing.eventstore.inmemory.InMemoryEventStorageEngine;

public class Seen {
  static GenericDomainEventMessage<String> event(long number, String text) {
    return new GenericDomainEventMessage<>("Account", "a", number, text);
  }

  public static void main(String[] arguments) {
    var store = new InMemoryEventStorageEngine();
    store.appendEvents(event(0, "opened"), event(1, "paid in"));
    store.appendEvents(event(2, "first writer"));
    store.appendEvents(event(2, "second writer"));
    System.out.println("axon: " + store.readEvents("a").asStream()
        .map(stored -> stored.getSequenceNumber() + " " + stored.getPayload())
        .collect(Collectors.joining(", ")));
  }
}
END
cat >run.cjs <<'END'
const { promisify } = require("node:util");
const store = require("eventstore")();

async function main() {
  await promisify(store.init).call(store);
  const load = () => promisify(store.getEventStream).call(store, "a");
  async function write(stream, ...texts) {
    stream.addEvents(texts);
    await promisify(stream.commit).call(stream);
  }
  await write(await load(), "opened", "paid in");
  const [first, second] = [await load(), await load()];
  await write(first, "first writer");
  await write(second, "second writer");
  const { events } = await load();
  console.log(`eventstore: ${events.map((event) => `${event.streamRevision} ${event.payload}`).join(", ")}`);
}
main();
END
cat >expected <<'END'
axon: 0 opened, 1 paid in, 2 first writer, 2 second writer
eventstore: 0 opened, 1 paid in, 2 first writer, 2 second writer
END
java -cp 'lib/*' Seen.java >seen 2>log
node run.cjs >>seen
diff expected seen
echo "as written"
