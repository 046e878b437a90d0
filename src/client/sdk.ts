// The exports of `annals/client`.

export type { FieldViolation } from "./rpc/call-error.ts";
export { boundary } from "./decider/boundary.ts";
export type { Boundary, BoundaryHandleOptions, BoundaryOptions } from "./decider/boundary.ts";
export { retryOnConflict } from "./decider/retry-on-conflict.ts";
export type { ConflictOptions } from "./decider/retry-on-conflict.ts";
export type { Decider, Handled } from "./decider/decider.ts";
export { repository } from "./decider/repository.ts";
export type { HandleOptions, Repository, RepositoryOptions } from "./decider/repository.ts";
export type { SnapshotOptions, StateCodec } from "./decider/state-snapshots.ts";
export type {
  ConsumeOptions,
  GroupConsumer,
  GroupDelivery,
  GroupHandler,
  NackOptions,
} from "./group/consumer.ts";
export type {
  GroupChanges,
  GroupOrdering,
  GroupSettings,
  GroupStart,
  NewGroup,
} from "./group/group-settings.ts";
export type {
  GroupInfo,
  GroupMemberInfo,
  GroupParkedEvent,
  Groups,
  WhichParked,
} from "./group/groups.ts";
export { memoryReadModel, MemoryTable } from "./projection/memory-read-model.ts";
export type { PoisonPolicy } from "./projection/poison.ts";
export type { WaitOptions } from "./projection/projection-waiters.ts";
export type { Projection, RecordedOfType } from "./projection/projection.ts";
export type {
  ParkedEvent,
  ProjectionCheckpoint,
  ProjectionStep,
  ReadModel,
} from "./projection/read-model.ts";
export { forgetParked, retryParked } from "./projection/retry-parked.ts";
export { runProjection } from "./projection/run-projection.ts";
export type {
  ProjectionState,
  ProjectionStatus,
  RunningProjection,
  RunOptions,
} from "./projection/run-projection.ts";
export type { AnnalsClient, Appender, AppendOptions } from "./annals-client.ts";
export type { Appended, AppendRules, Condition, StreamExpectation } from "./store/append.ts";
export type { AppenderOptions, AppendOutcome, AppendUnderway } from "./store/appender.ts";
export type {
  CheckpointUpdate,
  Checkpoints,
  SaveOptions,
  StoredCheckpoint,
  Waited,
} from "./store/checkpoints.ts";
export { connect } from "./connect.ts";
export type { ConnectOptions, ConnectTls } from "./connect.ts";
export type { OperationOptions, StoreRpc } from "./store/context.ts";
export { defineEvents } from "./store/define-events.ts";
export type {
  DataOf,
  EventOfType,
  EventOptions,
  JsonEvent,
  OldEvent,
} from "./store/define-events.ts";
export {
  AnnalsError,
  BeyondHeadError,
  EpochMismatchError,
  ConflictError,
  CorruptionError,
  EventIdConflictError,
  ExhaustedError,
  InvalidArgumentError,
  isStoreError,
  LostDeliveryError,
  MalformedEventError,
  MissingEventsError,
  NotFoundError,
  PoisonEventError,
  AccessDeniedError,
  PreconditionError,
  ServerError,
  StoreReplacedError,
  TimedOutError,
  UnavailableError,
} from "./store/errors.ts";
export type {
  ConditionConflict,
  EventIdMismatch,
  Expect,
  StoreError,
  StoreErrorCode,
  StreamConflict,
} from "./store/errors.ts";
export { newEventId } from "./store/event.ts";
export type {
  EncodedPayload,
  EventCodec,
  EventShape,
  NewEvent,
  NewEventFacts,
  RawEvent,
  RecordedEvent,
  RecordedFacts,
} from "./store/event.ts";
export { packMetadata, unpackMetadata } from "./store/framework-metadata.ts";
export type { FindEventOptions } from "./store/find-event.ts";
export type { EventTypeInfo, ListOptions, StoreInfo, StreamInfo } from "./store/info.ts";
export type { Fold, Loaded, LoadOptions, MissingEvents } from "./store/load.ts";
export type { Complete } from "./store/missing-events.ts";
export type { Place, ReadEnd, Reading, ReadOptions, ReadRange } from "./store/read.ts";
export type { RetryPolicy } from "./store/retry.ts";
export type { Query, QueryItem, Selection } from "./store/selection.ts";
export type {
  NewSnapshot,
  Snapshot,
  SnapshotFacts,
  Snapshots,
  WhichSnapshot,
} from "./store/snapshots.ts";
export { traceLink } from "./store/trace-link.ts";
export type { TraceLink } from "./store/trace-link.ts";
export type { InjectTraceContext } from "./rpc/connection.ts";
export type {
  Interruption,
  SubscribeOptions,
  SubscribeStart,
  Subscription,
  SubscriptionMessage,
} from "./store/subscribe.ts";
