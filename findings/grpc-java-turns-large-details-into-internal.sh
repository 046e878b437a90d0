#!/usr/bin/env bash
# A status with more than some 5,900 bytes of error details arrives in grpc-java as INTERNAL: the code the
# server sent, its message and its details are gone.
#
# Versions: io.grpc:grpc-netty-shaded 1.85.1 (Maven), Java 17. Server and client are grpc-java.
# Guess:    error details may have what messages may have, or the details are dropped and the code stays.
# Seen:     details travel as base64 in a trailer, and the client's limit for all trailers is 8 KiB by
#           default. Beyond it "http2 exception" is all that is left: a conflict that a client should decide
#           anew looks like a fault of the server. A server keeps its details small; a client may raise
#           `maxInboundMetadataSize`.
# Output:   5,900 bytes: ABORTED conflict; 6,000 bytes: INTERNAL http2 exception.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

cat >pom.xml <<'END'
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>seen</groupId>
  <artifactId>seen</artifactId>
  <version>1</version>
  <dependencies>
    <dependency>
      <groupId>io.grpc</groupId>
      <artifactId>grpc-netty-shaded</artifactId>
      <version>1.85.1</version>
    </dependency>
    <dependency>
      <groupId>io.grpc</groupId>
      <artifactId>grpc-stub</artifactId>
      <version>1.85.1</version>
    </dependency>
  </dependencies>
</project>
END
mvn --batch-mode --quiet dependency:copy-dependencies -DoutputDirectory=lib

cat >Seen.java <<'END'
import io.grpc.CallOptions;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import io.grpc.ServerServiceDefinition;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.netty.shaded.io.grpc.netty.NettyChannelBuilder;
import io.grpc.netty.shaded.io.grpc.netty.NettyServerBuilder;
import io.grpc.stub.ClientCalls;
import io.grpc.stub.ServerCalls;
import java.io.ByteArrayInputStream;
import java.io.InputStream;
import java.net.InetSocketAddress;

public class Seen {
  static final MethodDescriptor.Marshaller<String> EMPTY = new MethodDescriptor.Marshaller<>() {
    public InputStream stream(String value) { return new ByteArrayInputStream(new byte[0]); }
    public String parse(InputStream stream) { return ""; }
  };
  static final MethodDescriptor<String, String> GET = MethodDescriptor.<String, String>newBuilder()
      .setType(MethodDescriptor.MethodType.UNARY)
      .setFullMethodName("t.S/Get")
      .setRequestMarshaller(EMPTY)
      .setResponseMarshaller(EMPTY)
      .build();
  static final Metadata.Key<byte[]> DETAILS =
      Metadata.Key.of("grpc-status-details-bin", Metadata.BINARY_BYTE_MARSHALLER);
  static volatile int size;

  public static void main(String[] arguments) throws Exception {
    var get = ServerCalls.<String, String>asyncUnaryCall((request, answer) -> {
      var trailers = new Metadata();
      trailers.put(DETAILS, new byte[size]);
      answer.onError(Status.ABORTED.withDescription("conflict").asRuntimeException(trailers));
    });
    var server = NettyServerBuilder.forAddress(new InetSocketAddress("127.0.0.1", 0))
        .addService(ServerServiceDefinition.builder("t.S").addMethod(GET, get).build())
        .build().start();
    var channel = NettyChannelBuilder.forAddress("127.0.0.1", server.getPort()).usePlaintext().build();
    for (int bytes : new int[] {5_900, 6_000}) {
      size = bytes;
      try {
        ClientCalls.blockingUnaryCall(channel, GET, CallOptions.DEFAULT, "");
      } catch (StatusRuntimeException error) {
        System.out.println(bytes + ": " + error.getStatus().getCode() + " " + error.getStatus().getDescription());
      }
    }
    channel.shutdownNow();
    server.shutdownNow();
  }
}
END
cat >expected <<'END'
5900: ABORTED conflict
6000: INTERNAL http2 exception
END
java -cp 'lib/*' Seen.java >seen
diff expected seen
echo "as written"
