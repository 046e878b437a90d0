// Every limit of the product with its unit in its name, in one place. The contract states them
// (`Limits` in info.proto), GetInfo answers them, the edge enforces them.

/** 2^53 - 1: the largest position, version and count; 285 years at a million events a second. */
export const positionMax = Number.MAX_SAFE_INTEGER;

const KiB = 1024;
const MiB = 1024 * KiB;

export interface Limits {
  /** Bytes of one encoded `NewEvent`. With what the server adds it still fits a 4 MiB message. */
  readonly eventBytesMax: number;
  /** Bytes of all encoded events of one append. */
  readonly appendBytesMax: number;
  readonly appendEventsMax: number;
  readonly expectationsMax: number;
  readonly streamNameBytesMax: number;
  readonly typeBytesMax: number;
  readonly tagBytesMax: number;
  /** At most 100: term numbers on disk keep seven bits for the terms of one event. */
  readonly tagsMax: number;
  readonly metadataEntriesMax: number;
  readonly metadataBytesMax: number;
  readonly contentTypeBytesMax: number;
  readonly queryItemsMax: number;
  readonly queryValuesMax: number;
  /** Encoded bytes near which a batch of events is cut. */
  readonly batchBytesMax: number;
  readonly snapshotBytesMax: number;
  readonly snapshotKindBytesMax: number;
  /** Names of consumers, consumer groups and their members. */
  readonly consumerNameBytesMax: number;
  /** Why an event was put aside, for people. */
  readonly parkReasonBytesMax: number;
  readonly groupLeaseMinMs: number;
  readonly groupLeaseMaxMs: number;
  /** Of delays before an event is delivered again. */
  readonly groupDelayMaxMs: number;
  readonly groupAttemptsMax: number;
  /** Events in flight over all members of a group. */
  readonly groupInFlightMax: number;
  /** Events in flight to one member. */
  readonly memberPermitsMax: number;
  /** Tokens of one message of a member, positions of one request about parked events. */
  readonly groupListMax: number;
  readonly tokenBytesMax: number;
  /** Groups of one page: the lag of each is counted. */
  readonly groupsPageSizeMax: number;
  /** Members that are told one by one. */
  readonly membersListedMax: number;
  readonly waitTimeoutDefaultMs: number;
  readonly waitTimeoutMaxMs: number;
  /** Bytes of appends that wait for the disk, over all callers. */
  readonly appendQueueBytesMax: number;
  /** Appends that wait for the disk, over all callers. */
  readonly appendQueueCountMax: number;
  /** Bytes of events in one commit: what the group commit gathers at most. */
  readonly commitBytesMax: number;
  /** Events in one commit. */
  readonly commitEventsMax: number;
  /** Appends of one AppendPipe call that may wait for their outcome. */
  readonly pipeAppendsMax: number;
  /** Bytes of appends of one AppendPipe call that may wait for their outcome. */
  readonly pipeBytesMax: number;
  /** Bytes of who asks for a change of a stream's lifecycle. */
  readonly actorBytesMax: number;
  /** Bytes of why. */
  readonly reasonBytesMax: number;
  readonly maxAgeMinMs: number;
  readonly maxAgeMaxMs: number;
  readonly pageSizeDefault: number;
  readonly pageSizeMax: number;
  /** Calls one connection may have open at a time. */
  readonly concurrentCallsMax: number;
  /** Bytes of one received message: above `appendBytesMax`, so that our own error names it. */
  readonly receiveBytesMax: number;
  /**
   * Bytes of streamed answers that clients have not taken yet, over all calls: from there on a call
   * makes do with one small slab at a time.
   */
  readonly unsentBytesMax: number;
  /** Bytes of requests that are not complete yet, over all calls but pipes. */
  readonly unfinishedBytesMax: number;
  readonly checkpointIntervalDefaultMs: number;
  readonly checkpointIntervalMinMs: number;
  readonly checkpointIntervalMaxMs: number;
}

export const defaultLimits: Limits = Object.freeze({
  eventBytesMax: 3 * MiB,
  appendBytesMax: 4 * MiB - 64 * KiB,
  appendEventsMax: 5_000,
  expectationsMax: 256,
  streamNameBytesMax: 512,
  typeBytesMax: 256,
  tagBytesMax: 256,
  tagsMax: 64,
  metadataEntriesMax: 64,
  metadataBytesMax: 16 * KiB,
  contentTypeBytesMax: 128,
  queryItemsMax: 64,
  queryValuesMax: 256,
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
  unsentBytesMax: 64 * MiB,
  unfinishedBytesMax: 256 * MiB,
  checkpointIntervalDefaultMs: 10_000,
  checkpointIntervalMinMs: 100,
  checkpointIntervalMaxMs: 3_600_000,
});
