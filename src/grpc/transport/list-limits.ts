// How many entries the lists of requests may have. wire-inspection.ts counts them before a request
// is decoded. The conversions check the same limits, and limits over several lists together.

import type { DescField } from "@bufbuild/protobuf";
import { defaultLimits, type Limits } from "../../domain/limits.ts";

interface ListLimit {
  /** The name of the limit in error messages, as in `append_events_max`. */
  readonly name: string;
  readonly countMax: number;
}

const metadata = "metadataEntriesMax";
const values = "queryValuesMax";

const streams = "event_store.client.streams.";
const subscriptions = "event_store.client.persistent_subscriptions.";
const streamsV2 = "kurrentdb.protocol.v2.streams.";
const umadb = "umadb.v1.";

/** The limits by message and field. A test checks that every list of a request is here. */
const limitNames: Readonly<Record<string, keyof Limits>> = {
  "AppendRequest.events": "appendEventsMax",
  "AppendRequest.expectations": "expectationsMax",
  "AppendRequest.conditions": "conditionsMax",
  "NewEvent.tags": "tagsMax",
  "NewEvent.metadata": metadata,
  "CheckpointUpdate.metadata": metadata,
  "SaveCheckpointRequest.metadata": metadata,
  "SaveSnapshotRequest.metadata": metadata,
  "StreamPolicy.labels": metadata,
  "UpdateStreamRequest.clear": metadata,
  "Query.items": "queryItemsMax",
  "QueryItem.streams": values,
  "QueryItem.stream_prefixes": values,
  "QueryItem.types": values,
  "QueryItem.tags": values,
  "QueryItem.tags_any": values,
  "ConsumeRequest.Ack.tokens": "groupListMax",
  "ConsumeRequest.Nack.tokens": "groupListMax",
  "ConsumeRequest.Extend.tokens": "groupListMax",
  "ConsumeRequest.Park.tokens": "groupListMax",
  "ConsumeRequest.Release.tokens": "groupListMax",
  "ReplayParkedRequest.positions": "groupListMax",
  "DiscardParkedRequest.positions": "groupListMax",

  // The KurrentDB protocol.
  [`${streams}ReadReq.Options.FilterOptions.Expression.prefix`]: values,
  [`${streams}AppendReq.ProposedMessage.metadata`]: metadata,
  [`${streams}BatchAppendReq.proposed_messages`]: "commitEventsMax",
  [`${streams}BatchAppendReq.ProposedMessage.metadata`]: metadata,
  [`${subscriptions}CreateReq.AllOptions.FilterOptions.Expression.prefix`]: values,
  [`${subscriptions}ReadReq.Ack.ids`]: "memberPermitsMax",
  [`${subscriptions}ReadReq.Nack.ids`]: "memberPermitsMax",
  [`${streamsV2}AppendRequest.records`]: "appendEventsMax",
  [`${streamsV2}AppendRecordsRequest.records`]: "appendEventsMax",
  [`${streamsV2}AppendRecordsRequest.checks`]: "expectationsMax",
  [`${streamsV2}AppendRecord.properties`]: metadata,

  // The UmaDB protocol.
  [`${umadb}AppendRequest.events`]: "appendEventsMax",
  [`${umadb}Event.tags`]: "tagsMax",
  [`${umadb}Event.metadata`]: metadata,
  [`${umadb}Query.items`]: "queryItemsMax",
  [`${umadb}QueryItem.types`]: values,
  [`${umadb}QueryItem.tags`]: values,
};

/** Limits over all messages of a request, and over all lists with the same limit, together. */
const totalNames: Readonly<Record<string, keyof Limits>> = {
  "QueryItem.streams": values,
  "QueryItem.stream_prefixes": values,
  "QueryItem.types": values,
  "QueryItem.tags": values,
  "QueryItem.tags_any": values,
  "NewEvent.tags": "appendTagsMax",
  "NewEvent.metadata": "appendMetadataEntriesMax",
  "Query.items": "queryItemsMax",
  [`${umadb}Event.tags`]: "appendTagsMax",
  [`${umadb}Event.metadata`]: "appendMetadataEntriesMax",
  [`${umadb}QueryItem.types`]: values,
  [`${umadb}QueryItem.tags`]: values,
  "google.protobuf.ListValue.values": "jsonValuesMax",
  "google.protobuf.Struct.fields": "jsonValuesMax",
};

/** JSON values and other lists, which only the number of nested messages bounds. */
const unlimited: ListLimit = { name: "", countMax: Infinity };

/** How many entries the list may have in one message. */
export function listLimitOf(field: DescField): ListLimit {
  return limitIn(limitNames, field) ?? unlimited;
}

/** How many entries the lists of all messages may have together. Undefined: no such limit. */
export function totalLimitOf(field: DescField): ListLimit | undefined {
  return limitIn(totalNames, field);
}

function limitIn(
  names: Readonly<Record<string, keyof Limits>>,
  { parent, name }: DescField,
): ListLimit | undefined {
  const limit = names[`${parent.typeName.replace(/^annals\.v1\./, "")}.${name}`];
  if (limit === undefined) return undefined;
  const text = limit.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
  return { name: text, countMax: defaultLimits[limit] };
}
