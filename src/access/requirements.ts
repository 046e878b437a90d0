// The table of methods: what each one needs of the principal that calls it. A method that is not in
// this table does not exist. The table knows messages and no transport, so that every protocol asks
// the same table.

import type { DescMessage, DescService, MessageShape } from "@bufbuild/protobuf";
import type { Append } from "../domain/append.ts";
import { auditStream, auditTypePrefix, isSystemName } from "../domain/event.ts";
import { streamKeptIn } from "../domain/lifecycle/lifecycle-event.ts";
import { BackupService } from "../gen/annals/v1/backup_service_pb.js";
import { CheckpointService } from "../gen/annals/v1/checkpoint_service_pb.js";
import {
  ConsumerGroupService,
  type GroupStart,
} from "../gen/annals/v1/consumer_group_service_pb.js";
import { EventStoreService } from "../gen/annals/v1/event_store_service_pb.js";
import { StreamService } from "../gen/annals/v1/stream_service_pb.js";
import { Health } from "../gen/grpc/health/v1/health_pb.js";
import { ServerReflection as ReflectionV1 } from "../gen/grpc/reflection/v1/reflection_pb.js";
import { ServerReflection as V1Alpha } from "../gen/grpc/reflection/v1alpha/reflection_pb.js";
import { everything, type Extent, type Need, type Permission } from "./grants.ts";

/** What a method needs. */
export interface Requirement {
  /** `open`: of nobody in particular. Otherwise of a principal, with the needs of each request. */
  readonly isOpen: boolean;
  /** Undefined: any principal may. */
  needs?(request: unknown): readonly Need[];
  /** The call is part of the audit trail however it ends. */
  readonly isAudited?: true;
  /** One answer that may be long in coming: what is revoked meanwhile ends the call. */
  readonly isLong?: true;
}

/** What the metrics of the server need. */
export const observing: Requirement = {
  isOpen: false,
  needs: () => [{ anyOf: ["observe"], extent: everything }],
};

/** The requirement of a method with such requests. */
type Of<R> = Requirement & { readonly request?: (request: R) => void };
type Input<M> = M extends { input: infer I extends DescMessage } ? MessageShape<I> : never;
type Table<S extends DescService> = {
  readonly [K in keyof S["method"]]: Of<Input<S["method"][K]>>;
};

const open: Requirement = { isOpen: true };
const anyPrincipal: Requirement = { isOpen: false };

function needing<R>(
  needs: (request: R) => readonly Need[],
  more: Partial<Requirement> = {},
): Of<R> {
  return { isOpen: false, needs, ...more };
}

const audited = { isAudited: true } as const;

/** Appends are judged as what will be appended, however they were encoded. */
type Appending = {
  readonly [K in "append" | "appendPipe"]: Of<Append>;
};

const eventStore: Appending & Omit<Table<typeof EventStoreService>, keyof Appending> = {
  append: needing(appendNeeds),
  appendPipe: needing(appendNeeds),
  read: needing(({ selection }) => selectionNeeds(selection)),
  subscribe: needing(({ selection }) => selectionNeeds(selection)),
  load: needing(({ stream }) => [readNeed(stream)]),
  getState: needing(({ stream }) => [readNeed(stream)]),
  getEvent: needing(({ stream }) => [
    stream === "" ? { anyOf: ["read"], extent: everything } : readNeed(stream),
  ]),
  getStream: needing(({ stream }) => [readNeed(stream)]),
  listStreams: needing(({ prefix }) => [{ anyOf: ["read"], extent: prefixed(prefix) }]),
  listEventTypes: needing(() => [{ anyOf: ["read"], extent: everything }]),
  saveSnapshot: needing(({ stream }) => [named("append", stream)]),
  getSnapshot: needing(({ stream }) => [readNeed(stream)]),
  listSnapshots: needing(({ stream }) => [readNeed(stream)]),
  deleteSnapshots: needing(({ stream }) => [named("manage", stream)], audited),
  getInfo: anyPrincipal,
};

const streams: Table<typeof StreamService> = {
  updateStream: needing(({ stream }) => [named("manage", stream)], audited),
  deleteStream: needing(({ stream }) => [named("manage", stream)], audited),
};

const checkpoints: Table<typeof CheckpointService> = {
  saveCheckpoint: needing(({ consumer }) => [named("consume", consumer)]),
  getCheckpoint: needing(({ consumer }) => [named("consume", consumer)]),
  deleteCheckpoint: needing(({ consumer }) => [named("consume", consumer)]),
  listCheckpoints: needing(({ prefix }) => [{ anyOf: ["consume"], extent: prefixed(prefix) }]),
  waitFor: needing(({ who }) => [named("consume", who.value ?? "")], { isLong: true }),
};

const groups: Table<typeof ConsumerGroupService> = {
  createGroup: needing(({ name, settings, start, replace }) => {
    const needs = [...manages(name), ...queryNeeds(settings?.query?.items ?? [])];
    const other = otherGroup(start);
    if (other !== undefined) needs.push(named(replace ? "manage" : "consume", other));
    return needs;
  }, audited),
  updateGroup: needing(({ name }) => manages(name), audited),
  deleteGroup: needing(({ name }) => manages(name), audited),
  resetGroup: needing(({ name, start }) => {
    const other = otherGroup(start);
    return other === undefined ? manages(name) : [...manages(name), named("consume", other)];
  }, audited),
  getGroup: needing(({ name }) => [{ anyOf: ["consume", "manage"], extent: nameOf(name) }]),
  listGroups: needing(({ prefix }) => [{ anyOf: ["consume", "manage"], extent: prefixed(prefix) }]),
  // Who receives a group's events needs `read` of its query, too: see `groupNeeds`.
  consume: needing(({ message }) =>
    message.case === "join" ? [named("consume", message.value.group)] : [],
  ),
  listParked: needing(({ group }) => [named("consume", group)]),
  replayParked: needing(({ group }) => [named("consume", group)], audited),
  discardParked: needing(({ group }) => [named("consume", group)], audited),
};

const backups: Table<typeof BackupService> = {
  copy: needing(() => [{ anyOf: ["admin"], extent: everything }], audited),
  promote: needing(() => [{ anyOf: ["admin"], extent: everything }], audited),
};

const health: Table<typeof Health> = { check: open, list: open, watch: open };
const reflection = { serverReflectionInfo: open };

/** By the service's name and the method's: `annals.v1.EventStoreService/Append`. */
export const requirements: ReadonlyMap<string, Requirement> = new Map([
  ...rows(EventStoreService, eventStore),
  ...rows(StreamService, streams),
  ...rows(CheckpointService, checkpoints),
  ...rows(ConsumerGroupService, groups),
  ...rows(BackupService, backups),
  ...rows(Health, health),
  ...rows(ReflectionV1, reflection),
  ...rows(V1Alpha, reflection),
]);

function rows(
  { typeName, methods }: DescService,
  table: Readonly<Record<string, Requirement>>,
): [string, Requirement][] {
  return methods.flatMap(({ name, localName }) => {
    const requirement = table[localName];
    return requirement === undefined ? [] : [[`${typeName}/${name}`, requirement]];
  });
}

/**
 * Each stream it writes to and each that it expects something of, what its conditions look at, and
 * the checkpoint. Events without a stream are everybody's.
 */
export function appendNeeds({ events, expectations, conditions, checkpoint }: Append): Need[] {
  const needs: Need[] = [];
  let last: string | undefined;
  for (const { stream } of events) {
    if (stream === last) continue;
    last = stream;
    needs.push(stream === "" ? { anyOf: ["append"], extent: everything } : named("append", stream));
  }
  for (const { stream } of expectations) {
    if (stream !== last) needs.push({ anyOf: ["append", "read"], extent: nameOf(stream) });
  }
  for (const { query } of conditions) needs.push(...queryNeeds(query.items));
  if (checkpoint !== undefined) needs.push(named("consume", checkpoint.consumer));
  return needs;
}

interface Item {
  readonly streams: readonly string[];
  readonly streamPrefixes: readonly string[];
  readonly types: readonly string[];
}

type WireSelection =
  | { readonly case: "stream"; readonly value: string }
  | { readonly case: "query"; readonly value: { readonly items: readonly Item[] } }
  | { readonly case: undefined };

function selectionNeeds(selection: WireSelection): readonly Need[] {
  switch (selection.case) {
    case "stream":
      return [readNeed(selection.value)];
    case "query":
      return queryNeeds(selection.value.items);
    case undefined:
      return [{ anyOf: ["read"], extent: everything }];
  }
}

/** What receiving a group's events needs. */
export function groupNeeds(
  group: string,
  query: { readonly items: readonly Item[] },
): readonly Need[] {
  return [named("consume", group), ...queryNeeds(query.items)];
}

/** `read` of the streams of each item. An item that names no stream, and no item at all: of all. */
export function queryNeeds(items: readonly Item[]): Need[] {
  if (items.length === 0) return [{ anyOf: ["read"], extent: everything }];
  return items.flatMap((item) => {
    const { streams: names, streamPrefixes, types } = item;
    const needs =
      names.length > 0
        ? names.map(readNeed)
        : streamPrefixes.length > 0
          ? streamPrefixes.map((prefix): Need => ({ anyOf: ["read"], extent: prefixed(prefix) }))
          : [{ anyOf: ["read"], extent: everything } satisfies Need];
    const isOfAudit = types.some((type) => type.startsWith(auditTypePrefix));
    return isOfAudit && names.length === 0 ? [...needs, ofAudit] : needs;
  });
}

/** Only `admin` may read the audit trail. */
const ofAudit: Need = { anyOf: ["admin"], extent: { kind: "name", name: auditStream } };

/** The lifecycle of a stream is read by those who may read the stream. */
export function readNeed(stream: string): Need {
  return stream === auditStream ? ofAudit : named("read", streamKeptIn(stream) ?? stream);
}

function named(permission: Permission, name: string): Need {
  return { anyOf: [permission], extent: nameOf(name) };
}

function nameOf(name: string): Extent {
  return { kind: "name", name };
}

function manages(group: string): Need[] {
  return [named("manage", group)];
}

/** An empty prefix is that of every name. System streams are read with `read` of everything. */
function prefixed(prefix: string): Extent {
  return prefix === "" || isSystemName(prefix) ? everything : { kind: "prefix", prefix };
}

function otherGroup(start: GroupStart | undefined): string | undefined {
  return start?.start.case === "afterGroup" ? start.start.value : undefined;
}
