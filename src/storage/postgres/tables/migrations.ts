// The tables of a store in PostgreSQL, as numbered migrations. A migration that was released is
// never changed; a change is a further one. Each runs in a transaction of its own, under a lock,
// and is noted in the table `migration` (schema.ts). docs/cluster.md says which columns people may
// rely on.
//
// `head` is one row. Its lock orders all commits of all servers: it is held from the facts of a
// decision to the end of its commit, so that positions are dense and become visible in order.
// Names are compared byte by byte (COLLATE "C"), in every database alike.

const initial = `
CREATE TABLE store (
  one boolean PRIMARY KEY DEFAULT true CHECK (one),
  store_id uuid NOT NULL,
  created_at bigint NOT NULL,
  -- What clients hand back is signed with it.
  secret bytea NOT NULL,
  -- The epochs, the oldest first.
  history jsonb NOT NULL,
  -- A store is being copied into these tables: no server serves them.
  is_copy boolean NOT NULL DEFAULT false
);

CREATE TABLE head (
  one boolean PRIMARY KEY DEFAULT true CHECK (one),
  position bigint NOT NULL,
  -- Microseconds since 1970, UTC, as every time here.
  recorded_at bigint NOT NULL,
  -- The hash chain up to here: see batch.
  chain bytea NOT NULL,
  -- How often side values were changed.
  sides bigint NOT NULL,
  -- The position of the last lifecycle event; 0: there is none.
  lifecycle bigint NOT NULL,
  -- How often a server has proved that it can commit.
  proofs bigint NOT NULL
) WITH (fillfactor = 10);

CREATE TABLE store_time (
  one boolean PRIMARY KEY DEFAULT true CHECK (one),
  -- The latest time by which ages were measured.
  time bigint NOT NULL
) WITH (fillfactor = 10);

CREATE TABLE event (
  position bigint PRIMARY KEY,
  -- NULL: the event has no stream, and no version.
  stream text COLLATE "C",
  version bigint,
  id uuid NOT NULL,
  id_from_client boolean NOT NULL,
  type text COLLATE "C" NOT NULL,
  tags text[] NOT NULL,
  recorded_at bigint NOT NULL,
  -- A RecordedEvent message. The other columns repeat what it says.
  record bytea NOT NULL,
  -- CRC-32 of the position (8 bytes, big-endian) and the record.
  crc bigint NOT NULL,
  -- Of a removed record: the position of the event that says why it is one.
  removed_in bigint,
  UNIQUE (stream, version),
  CHECK ((stream IS NULL) = (version IS NULL))
);
ALTER TABLE event ALTER record SET STORAGE EXTERNAL;
CREATE UNIQUE INDEX event_id ON event (id) WHERE id_from_client;
CREATE INDEX event_type ON event (type, position);
CREATE INDEX event_category ON event (split_part(stream, '-', 1), position)
  WHERE stream IS NOT NULL;

CREATE TABLE tag (
  tag text COLLATE "C" NOT NULL,
  position bigint NOT NULL,
  PRIMARY KEY (tag, position)
);

CREATE TABLE stream (
  name text COLLATE "C" PRIMARY KEY,
  version bigint NOT NULL,
  first_position bigint NOT NULL,
  last_position bigint NOT NULL,
  -- Every event up to this version is a removed record.
  reclaimed bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 70);

CREATE TABLE type (
  name text COLLATE "C" PRIMARY KEY,
  count bigint NOT NULL,
  first_position bigint NOT NULL,
  last_position bigint NOT NULL
) WITH (fillfactor = 50);

-- The hash chain. A batch is some events of one commit, which a store in a folder would have as one
-- chunk: chain is the SHA-256 of that chunk as it was first.
CREATE TABLE batch (
  last bigint PRIMARY KEY,
  first bigint NOT NULL,
  chain bytea NOT NULL,
  -- The position of the event that says that removed records took the place of some of its events.
  removed_in bigint,
  -- Whether all of them are removed records, as the chunk says.
  is_emptied boolean NOT NULL
);

CREATE TABLE side_value (
  space text COLLATE "C" NOT NULL,
  name text COLLATE "C" NOT NULL,
  value bytea NOT NULL,
  -- CRC-32 of the space, a zero byte, the name, a zero byte and the value.
  crc bigint NOT NULL,
  PRIMARY KEY (space, name)
) WITH (fillfactor = 70);
ALTER TABLE side_value ALTER value SET STORAGE EXTERNAL;

-- Which server runs the consumer groups.
CREATE TABLE lease (
  one boolean PRIMARY KEY DEFAULT true CHECK (one),
  holder uuid NOT NULL,
  -- Where that server is, for people and clients.
  address text NOT NULL,
  -- Counts the leases: a commit names the one that it relies on.
  number bigint NOT NULL,
  until timestamptz NOT NULL
) WITH (fillfactor = 10);

-- How many events a stream had got at a position. Looks for it in the dense versions.
CREATE FUNCTION version_at(of_stream text, at_position bigint) RETURNS bigint
LANGUAGE plpgsql STABLE SET search_path FROM CURRENT AS $$
DECLARE
  low bigint := 0;
  high bigint;
  middle bigint;
  first_of bigint;
  found_at bigint;
BEGIN
  SELECT version, first_position, last_position INTO high, first_of, found_at
    FROM stream WHERE name = of_stream;
  IF NOT FOUND OR at_position < first_of THEN RETURN 0; END IF;
  IF found_at <= at_position THEN RETURN high; END IF;
  WHILE low < high LOOP
    middle := (low + high + 1) / 2;
    SELECT position INTO found_at FROM event WHERE stream = of_stream AND version = middle;
    IF NOT FOUND THEN
      RAISE EXCEPTION 'version % of stream "%" is missing', middle, of_stream
        USING ERRCODE = 'data_corrupted';
    END IF;
    IF found_at <= at_position THEN low := middle; ELSE high := middle - 1; END IF;
  END LOOP;
  RETURN low;
END $$;

-- The first position recorded at or after a time, up to a position; that position plus one: none.
CREATE FUNCTION position_at(at_time bigint, up_to bigint) RETURNS bigint
LANGUAGE plpgsql STABLE SET search_path FROM CURRENT AS $$
DECLARE
  low bigint := 1;
  high bigint := up_to + 1;
  middle bigint;
  found_at bigint;
BEGIN
  WHILE low < high LOOP
    middle := (low + high) / 2;
    SELECT recorded_at INTO found_at FROM event WHERE position = middle;
    IF NOT FOUND THEN
      RAISE EXCEPTION 'the event at position % is missing', middle
        USING ERRCODE = 'data_corrupted';
    END IF;
    IF found_at >= at_time THEN high := middle; ELSE low := middle + 1; END IF;
  END LOOP;
  RETURN low;
END $$;
`;

/** Events with their payloads as JSON, for people and their tools. */
const readable = `
-- The fields of a protobuf message that have a length: texts, bytes, messages.
CREATE FUNCTION fields_of(message bytea) RETURNS TABLE (field int, value bytea)
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
  at int := 0;
  octet int;
  shift int;
  tag bigint;
  length bigint;
BEGIN
  WHILE at < octet_length(message) LOOP
    tag := 0;
    shift := 0;
    LOOP
      octet := get_byte(message, at);
      at := at + 1;
      tag := tag | ((octet & 127)::bigint << shift);
      EXIT WHEN octet < 128;
      shift := shift + 7;
    END LOOP;
    CASE tag & 7
      WHEN 0 THEN
        LOOP
          octet := get_byte(message, at);
          at := at + 1;
          EXIT WHEN octet < 128;
        END LOOP;
      WHEN 1 THEN at := at + 8;
      WHEN 5 THEN at := at + 4;
      WHEN 2 THEN
        length := 0;
        shift := 0;
        LOOP
          octet := get_byte(message, at);
          at := at + 1;
          length := length | ((octet & 127)::bigint << shift);
          EXIT WHEN octet < 128;
          shift := shift + 7;
        END LOOP;
        field := tag >> 3;
        value := substring(message FROM at + 1 FOR length::int);
        at := at + length;
        RETURN NEXT;
    END CASE;
  END LOOP;
END $$;

-- NULL: it is no JSON, or none that jsonb can hold.
CREATE FUNCTION json_of(data bytea) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
BEGIN
  RETURN convert_from(data, 'UTF8')::jsonb;
EXCEPTION WHEN data_exception THEN
  RETURN NULL;
END $$;

-- A text or the bytes of an event's record, by the field of RecordedEvent. NULL: it has none.
CREATE FUNCTION record_field(record bytea, of_field int) RETURNS bytea
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path FROM CURRENT AS $$
  SELECT value FROM fields_of(record) WHERE field = of_field LIMIT 1
$$;

CREATE FUNCTION record_metadata(record bytea) RETURNS jsonb
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path FROM CURRENT AS $$
  SELECT coalesce(jsonb_object_agg(
      coalesce(convert_from(record_field(value, 1), 'UTF8'), ''),
      coalesce(convert_from(record_field(value, 2), 'UTF8'), '')
    ), '{}')
  FROM fields_of(record) WHERE field = 5
$$;

CREATE VIEW event_json AS
  SELECT e.position, e.stream, e.version, e.id, e.type, e.tags,
    timestamptz 'epoch' + e.recorded_at * interval '1 microsecond' AS recorded_at,
    json_of(record_field(e.record, 7)) AS data,
    record_metadata(e.record) AS metadata,
    convert_from(record_field(e.record, 6), 'UTF8') AS content_type,
    record_field(e.record, 7) AS data_bytes,
    convert_from(record_field(e.record, 12), 'UTF8') AS principal,
    e.removed_in IS NOT NULL AS is_removed
  FROM event e;
`;

/** In order; the first one has number 1. */
export const migrations: readonly string[] = [initial, readable];
