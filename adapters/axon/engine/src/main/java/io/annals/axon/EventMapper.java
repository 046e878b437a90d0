package io.annals.axon;

import com.google.protobuf.ByteString;
import com.google.protobuf.Timestamp;
import io.annals.v1.NewEvent;
import io.annals.v1.Query;
import io.annals.v1.QueryItem;
import io.annals.v1.RecordedEvent;
import java.nio.charset.StandardCharsets;
import java.time.Instant;
import java.util.HashMap;
import java.util.Map;
import java.util.Set;
import java.util.UUID;
import org.axonframework.messaging.core.Context;
import org.axonframework.messaging.core.LegacyResources;
import org.axonframework.messaging.core.MessageType;
import org.axonframework.messaging.core.QualifiedName;
import org.axonframework.messaging.eventhandling.EventMessage;
import org.axonframework.messaging.eventhandling.GenericEventMessage;
import org.axonframework.messaging.eventhandling.conversion.EventConverter;
import org.axonframework.messaging.eventhandling.processing.streaming.token.TrackingToken;
import org.axonframework.messaging.eventstreaming.EventCriteria;
import org.axonframework.messaging.eventstreaming.EventCriterion;
import org.axonframework.messaging.eventstreaming.Tag;

/**
 * How messages of the framework are events of the store. The name of the message type is the event's
 * type, a tag is {@code key:value}, and what the store has no field for is metadata whose key begins
 * with {@code axon.}: the version of the type, the message's own time, an identifier that is no UUID.
 */
final class EventMapper {
  private static final String OURS = "axon.";
  private static final String VERSION = OURS + "version";
  private static final String TIME = OURS + "time";
  private static final String IDENTIFIER = OURS + "identifier";
  /** Prefixes of entries that the store would refuse under their own keys. */
  private static final String KEY = OURS + "key.";
  private static final String NULL = OURS + "null.";

  private static final String TEXT = "text/plain;charset=utf-8";
  private static final String BYTES = "application/octet-stream";
  private static final String NO_PAYLOAD = "application/vnd.axon.null";

  private final EventConverter converter;
  private final String contentType;

  EventMapper(EventConverter converter, String contentType) {
    this.converter = converter;
    this.contentType = contentType;
  }

  NewEvent.Builder toStore(EventMessage event, Set<Tag> tags) {
    NewEvent.Builder proposed =
        NewEvent.newBuilder().setType(event.type().name()).putMetadata(TIME, event.timestamp().toString());
    tags.stream().map(EventMapper::tag).sorted().forEach(proposed::addTags);
    if (!MessageType.DEFAULT_VERSION.equals(event.type().version())) {
      proposed.putMetadata(VERSION, event.type().version());
    }
    event.metadata().forEach((key, value) -> {
      boolean plain = !key.isEmpty() && !key.startsWith("$") && !key.startsWith(OURS);
      if (value == null) proposed.putMetadata(NULL + key, "");
      else proposed.putMetadata(plain ? key : KEY + key, value);
    });
    UUID id = uuid(event.identifier());
    if (!id.toString().equals(event.identifier())) proposed.putMetadata(IDENTIFIER, event.identifier());
    proposed.setId(id.toString());
    Object payload = event.payload();
    if (payload == null) return proposed.setContentType(NO_PAYLOAD);
    String type = payload instanceof byte[] ? BYTES : payload instanceof String ? TEXT : contentType;
    byte[] data = event.payloadAs(byte[].class, converter);
    return proposed.setContentType(type).setData(ByteString.copyFrom(data));
  }

  /** The same identifier always has the same id, so that a repeated append is recognised. */
  private static UUID uuid(String identifier) {
    try {
      if (identifier.length() == 36) return UUID.fromString(identifier);
    } catch (IllegalArgumentException notAUuid) {
      // Derived below.
    }
    return UUID.nameUUIDFromBytes(identifier.getBytes(StandardCharsets.UTF_8));
  }

  EventMessage fromStore(RecordedEvent event) {
    Map<String, String> metadata = new HashMap<>();
    event.getMetadataMap().forEach((key, value) -> {
      if (key.startsWith(KEY)) metadata.put(key.substring(KEY.length()), value);
      else if (key.startsWith(NULL)) metadata.put(key.substring(NULL.length()), null);
      else if (!key.startsWith(OURS)) metadata.put(key, value);
    });
    String version = event.getMetadataOrDefault(VERSION, MessageType.DEFAULT_VERSION);
    String time = event.getMetadataOrDefault(TIME, "");
    boolean none = event.getContentType().equals(NO_PAYLOAD);
    return new GenericEventMessage(
        event.getMetadataOrDefault(IDENTIFIER, event.getId()),
        new MessageType(event.getType(), version),
        none ? null : event.getData().toByteArray(),
        metadata,
        time.isEmpty() ? instant(event.getRecordedAt()) : Instant.parse(time));
  }

  /** The token, and for an event of an aggregate what older handlers ask for. */
  static Context contextOf(RecordedEvent event, String epoch) {
    Context context =
        TrackingToken.addToContext(
            Context.empty(), new AnnalsTrackingToken(event.getPosition(), epoch));
    if (event.getVersion() == 0 || event.getTagsCount() != 1) return context;
    Tag tag = tag(event.getTags(0));
    return context
        .withResource(LegacyResources.AGGREGATE_TYPE_KEY, tag.key())
        .withResource(LegacyResources.AGGREGATE_IDENTIFIER_KEY, tag.value())
        .withResource(LegacyResources.AGGREGATE_SEQUENCE_NUMBER_KEY, event.getVersion() - 1);
  }

  static Query query(EventCriteria criteria) {
    Query.Builder query = Query.newBuilder();
    // `flatten` leaves out alternatives without tags and types, which match everything.
    if (criteria.matches(new QualifiedName(UUID.randomUUID().toString()), Set.of())) return query.build();
    for (EventCriterion criterion : criteria.flatten()) {
      QueryItem.Builder item = query.addItemsBuilder();
      criterion.types().forEach(type -> item.addTypes(type.toString()));
      criterion.tags().forEach(tag -> item.addTags(tag(tag)));
    }
    return query.build();
  }

  static String tag(Tag tag) {
    return escape(tag.key(), ':') + ":" + tag.value();
  }

  /** A tag of another client that has no colon is a key without a value. */
  static Tag tag(String text) {
    int colon = text.indexOf(':');
    return colon < 0 ? new Tag(unescape(text), "") : new Tag(unescape(text.substring(0, colon)), text.substring(colon + 1));
  }

  /** {@code Order-17}: the key is the stream's category. */
  static String stream(Tag tag) {
    return escape(tag.key(), '-') + "-" + tag.value();
  }

  private static String escape(String key, char separator) {
    String text = key.replace("%", "%25").replace(String.valueOf(separator), "%%%02X".formatted((int) separator));
    return text.startsWith("$") ? "%24" + text.substring(1) : text;
  }

  private static String unescape(String key) {
    return key.replace("%3A", ":").replace("%24", "$").replace("%25", "%");
  }

  static Instant instant(Timestamp time) {
    return Instant.ofEpochSecond(time.getSeconds(), time.getNanos());
  }

  static Timestamp timestamp(Instant time) {
    return Timestamp.newBuilder().setSeconds(time.getEpochSecond()).setNanos(time.getNano()).build();
  }
}
