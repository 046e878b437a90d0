package example;

import com.google.protobuf.InvalidProtocolBufferException;
import com.google.protobuf.Value;
import io.annals.v1.ReadResponse;
import io.annals.v1.RecordedEvent;
import java.io.DataInputStream;
import java.io.EOFException;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.HexFormat;
import java.util.stream.Collectors;

/** Parses answers as parsed-alike.test.ts asks: prints events in a form that all languages share. */
final class Parse {
  private static String text(String value) {
    return HexFormat.of().formatHex(value.getBytes(StandardCharsets.UTF_8));
  }

  private static String valueOf(Value value) {
    return switch (value.getKindCase()) {
      case NULL_VALUE -> "z";
      case NUMBER_VALUE -> "n%016x".formatted(Double.doubleToRawLongBits(value.getNumberValue()));
      case STRING_VALUE -> "s" + text(value.getStringValue());
      case BOOL_VALUE -> value.getBoolValue() ? "b1" : "b0";
      case LIST_VALUE ->
          value.getListValue().getValuesList().stream()
              .map(Parse::valueOf)
              .collect(Collectors.joining(",", "[", "]"));
      case STRUCT_VALUE ->
          value.getStructValue().getFieldsMap().entrySet().stream()
              .map(each -> text(each.getKey()) + ":" + valueOf(each.getValue()))
              .sorted()
              .collect(Collectors.joining(",", "{", "}"));
      default -> "-";
    };
  }

  private static String eventOf(RecordedEvent event) {
    String metadata =
        event.getMetadataMap().entrySet().stream()
            .map(each -> text(each.getKey()) + "=" + text(each.getValue()))
            .sorted()
            .collect(Collectors.joining(","));
    return String.join(
        "|",
        text(event.getId()),
        text(event.getStream()),
        text(event.getType()),
        event.getTagsList().stream().map(Parse::text).collect(Collectors.joining(",")),
        metadata,
        text(event.getContentType()),
        HexFormat.of().formatHex(event.getData().toByteArray()),
        event.hasJson() ? valueOf(event.getJson()) : "",
        Long.toUnsignedString(event.getVersion()),
        Long.toUnsignedString(event.getPosition()),
        event.getRecordedAt().getSeconds() + "." + event.getRecordedAt().getNanos());
  }

  private static String parsed(byte[] bytes) {
    try {
      return ReadResponse.parseFrom(bytes).getBatch().getEventsList().stream()
          .map(Parse::eventOf)
          .collect(Collectors.joining(";"));
    } catch (InvalidProtocolBufferException error) {
      return "refused: " + error.getMessage().replace('\n', ' ');
    }
  }

  public static void main(String[] args) throws IOException {
    var source = new DataInputStream(System.in);
    var output = new PrintStream(System.out, false, StandardCharsets.UTF_8);
    while (true) {
      int length;
      try {
        length = source.readInt();
      } catch (EOFException end) {
        break;
      }
      output.println(parsed(source.readNBytes(length)));
    }
    output.flush();
  }
}
