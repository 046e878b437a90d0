// The limits of the contract (`Limits` in info.proto, which GetInfo returns) and of the server's
// queues, each with its unit in its name. The conversion in the gRPC layer enforces those on
// requests.

/** 2^53 - 1: the largest position, version and count; 285 years at a million events a second. */
export const positionMax = Number.MAX_SAFE_INTEGER;

const KiB = 1024;
const MiB = 1024 * KiB;

/**
 * Bytes of streams' lifecycles in memory: of some 130,000 streams without labels. Those of further
 * streams are looked up in the log each time they are needed: correct, and slower.
 */
export const rememberedLifecyclesBytesMax = 64 * MiB;

export interface Limits {
  /** Bytes of one encoded `NewEvent`. With the server's fields it still fits a 4 MiB message. */
  readonly eventBytesMax: number;
  /** Bytes of all encoded events of one append. */
  readonly appendBytesMax: number;
  readonly appendEventsMax: number;
  /**
   * Tags of all events of one append. Each new tag is looked up and becomes two entries of the
   * index, while every other append waits for the commit.
   */
  readonly appendTagsMax: number;
  /** Metadata entries of all events of one append. */
  readonly appendMetadataEntriesMax: number;
  /** Values in the `json` of a request, which are messages until they are text. */
  readonly jsonValuesMax: number;
  readonly expectationsMax: number;
  readonly streamNameBytesMax: number;
  readonly typeBytesMax: number;
  readonly tagBytesMax: number;
  /** At most 100: term numbers on disk have seven bits for the terms of one event. */
  readonly tagsMax: number;
  readonly metadataEntriesMax: number;
  readonly metadataBytesMax: number;
  readonly contentTypeBytesMax: number;
  /** Items of a query, or of all conditions of one append together: each is looked up. */
  readonly queryItemsMax: number;
  /** Values of all items together. */
  readonly queryValuesMax: number;
  readonly conditionsMax: number;
  /** A batch of events is cut near this many encoded bytes. */
  readonly batchBytesMax: number;
  readonly snapshotBytesMax: number;
  readonly snapshotKindBytesMax: number;
  /** Bytes of the names of consumers, consumer groups and their members. */
  readonly consumerNameBytesMax: number;
  /** Bytes of the reason for which an event was parked. */
  readonly parkReasonBytesMax: number;
  readonly groupLeaseMinMs: number;
  readonly groupLeaseMaxMs: number;
  /** The longest delay before an event is delivered again. */
  readonly groupDelayMaxMs: number;
  readonly groupAttemptsMax: number;
  /** Events in flight over all members of a group. */
  readonly groupInFlightMax: number;
  /** Events in flight to one member. */
  readonly memberPermitsMax: number;
  /** Tokens in one message of a member, or positions in one request about parked events. */
  readonly groupListMax: number;
  readonly tokenBytesMax: number;
  /** Groups on one page. The lag of each is counted. */
  readonly groupsPageSizeMax: number;
  /** Members of a group that are listed individually. */
  readonly membersListedMax: number;
  readonly waitTimeoutDefaultMs: number;
  readonly waitTimeoutMaxMs: number;
  /** Bytes of appends that wait for the disk, over all callers. */
  readonly appendQueueBytesMax: number;
  /** Appends that wait for the disk, over all callers. */
  readonly appendQueueCountMax: number;
  /** Bytes of events in one commit. */
  readonly commitBytesMax: number;
  /** Events in one commit. */
  readonly commitEventsMax: number;
  /** Appends of one AppendPipe call that may wait for their outcome. */
  readonly pipeAppendsMax: number;
  /** Bytes of appends of one AppendPipe call that may wait for their outcome. */
  readonly pipeBytesMax: number;
  /** Bytes of the actor of a lifecycle change. */
  readonly actorBytesMax: number;
  /** Bytes of the reason of a lifecycle change. */
  readonly reasonBytesMax: number;
  readonly maxAgeMinMs: number;
  readonly maxAgeMaxMs: number;
  readonly pageSizeDefault: number;
  readonly pageSizeMax: number;
  /** Open calls of one connection. */
  readonly concurrentCallsMax: number;
  /**
   * Bytes of one received message. Above `appendBytesMax`, so that Annals' own error names that
   * limit.
   */
  readonly receiveBytesMax: number;
  /** Bytes that one connection may hold, whatever others hold. */
  readonly connectionSureBytes: number;
  readonly checkpointIntervalDefaultMs: number;
  readonly checkpointIntervalMinMs: number;
  readonly checkpointIntervalMaxMs: number;
}

export const defaultLimits: Limits = Object.freeze({
  eventBytesMax: 3 * MiB,
  appendBytesMax: 4 * MiB - 64 * KiB,
  appendEventsMax: 5_000,
  appendTagsMax: 20_000,
  appendMetadataEntriesMax: 20_000,
  jsonValuesMax: 10_000,
  expectationsMax: 256,
  streamNameBytesMax: 512,
  typeBytesMax: 256,
  tagBytesMax: 256,
  tagsMax: 64,
  metadataEntriesMax: 64,
  metadataBytesMax: 16 * KiB,
  contentTypeBytesMax: 128,
  queryItemsMax: 1_000,
  queryValuesMax: 4_096,
  conditionsMax: 64,
  batchBytesMax: 128 * KiB,
  snapshotBytesMax: 3 * MiB,
  snapshotKindBytesMax: 128,
  consumerNameBytesMax: 256,
  parkReasonBytesMax: 1_024,
  groupLeaseMinMs: 100,
  groupLeaseMaxMs: 12 * 3_600_000,
  groupDelayMaxMs: 24 * 3_600_000,
  groupAttemptsMax: 1_000,
  groupInFlightMax: 100_000,
  memberPermitsMax: 10_000,
  groupListMax: 1_000,
  tokenBytesMax: 64,
  groupsPageSizeMax: 100,
  membersListedMax: 1_000,
  waitTimeoutDefaultMs: 10_000,
  waitTimeoutMaxMs: 3_600_000,
  appendQueueBytesMax: 64 * MiB,
  appendQueueCountMax: 20_000,
  commitBytesMax: 2 * MiB,
  commitEventsMax: 10_000,
  pipeAppendsMax: 1_024,
  pipeBytesMax: 4 * MiB,
  actorBytesMax: 256,
  reasonBytesMax: 1024,
  maxAgeMinMs: 1,
  maxAgeMaxMs: 100 * 365 * 24 * 3_600_000,
  pageSizeDefault: 100,
  pageSizeMax: 1_000,
  concurrentCallsMax: 16_384,
  receiveBytesMax: 8 * MiB,
  connectionSureBytes: 96 * KiB,
  checkpointIntervalDefaultMs: 10_000,
  checkpointIntervalMinMs: 100,
  checkpointIntervalMaxMs: 3_600_000,
});
