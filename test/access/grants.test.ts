// What a request touches, and whether grants cover it.
import { create, type DescMessage, type MessageInitShape } from "@bufbuild/protobuf";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { builtInRoles } from "../../src/access/access-file.ts";
import {
  everything,
  missing,
  permissionDenied,
  permissions,
  united,
  type Grants,
  type Need,
  type Permission,
} from "../../src/access/grants.ts";
import { groupNeeds, requirements } from "../../src/access/requirements.ts";
import { matches, type QueryItem } from "../../src/domain/query.ts";
import { BackupService } from "../../src/gen/annals/v1/backup_service_pb.js";
import { CheckpointService } from "../../src/gen/annals/v1/checkpoint_service_pb.js";
import { ConsumerGroupService } from "../../src/gen/annals/v1/consumer_group_service_pb.js";
import { EventStoreService } from "../../src/gen/annals/v1/event_store_service_pb.js";
import { StreamService } from "../../src/gen/annals/v1/stream_service_pb.js";
import { Health } from "../../src/gen/grpc/health/v1/health_pb.js";
import { ServerReflection as V1 } from "../../src/gen/grpc/reflection/v1/reflection_pb.js";
import { ServerReflection as V1Alpha } from "../../src/gen/grpc/reflection/v1alpha/reflection_pb.js";

const own = [
  BackupService,
  EventStoreService,
  StreamService,
  CheckpointService,
  ConsumerGroupService,
];

function needsOf(name: string, request: unknown): readonly Need[] {
  const requirement = requirements.get(name);
  if (requirement === undefined) throw new Error(`no requirement of ${name}`);
  return requirement.needs?.(request) ?? [];
}

type Method = {
  readonly input: DescMessage;
  readonly name: string;
  readonly parent: { typeName: string };
};

/** Whether grants allow a request, as the server judges it. */
function allows<M extends Method>(
  grants: Grants,
  method: M,
  request: MessageInitShape<M["input"]>,
): boolean {
  const message = create(method.input, request);
  return (
    missing(grants, needsOf(`${method.parent.typeName}/${method.name}`, message)) === undefined
  );
}

describe("the table of methods", () => {
  test("has every method of every service, and no other", () => {
    const names = [...own, Health, V1, V1Alpha].flatMap(({ typeName, methods }) =>
      methods.map(({ name }) => `${typeName}/${name}`),
    );
    expect([...requirements.keys()].toSorted()).toEqual(names.toSorted());
  });

  test("leaves nothing open but health and reflection", () => {
    const open = [...requirements].filter(([, { isOpen }]) => isOpen).map(([name]) => name);
    expect(open.toSorted()).toEqual([
      "grpc.health.v1.Health/Check",
      "grpc.health.v1.Health/List",
      "grpc.health.v1.Health/Watch",
      "grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
      "grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
    ]);
  });

  test("asks only GetInfo of any principal alike", () => {
    const free = [...requirements].filter(([, one]) => !one.isOpen && one.needs === undefined);
    expect(free.map(([name]) => name)).toEqual(["annals.v1.EventStoreService/GetInfo"]);
  });
});

const { read, subscribe, load, listStreams, listEventTypes, getStream, saveSnapshot } =
  EventStoreService.method;
const inQuery = (...items: object[]) =>
  ({ selection: { case: "query", value: { items } } }) as MessageInitShape<typeof read.input>;

describe("a read", () => {
  const orders: Grants = { read: ["orders-"] };
  const all: Grants = { read: "everything" };

  test.each<[string, MessageInitShape<typeof read.input>, boolean]>([
    ["of a stream within the prefix", { selection: { case: "stream", value: "orders-1" } }, true],
    ["of another stream", { selection: { case: "stream", value: "invoices-1" } }, false],
    [
      "of a stream whose name is a part of the prefix",
      { selection: { case: "stream", value: "orders" } },
      false,
    ],
    [
      "of the lifecycle of its stream",
      { selection: { case: "stream", value: "$lifecycle-orders-1" } },
      true,
    ],
    [
      "of the lifecycle of another stream",
      { selection: { case: "stream", value: "$lifecycle-x" } },
      false,
    ],
    ["of everything", {}, false],
    ["of a query without items", inQuery(), false],
    ["of a type alone", inQuery({ types: ["Placed"] }), false],
    ["of a tag alone", inQuery({ tags: ["customer:1"] }), false],
    ["of a type in its streams", inQuery({ types: ["Placed"], streamPrefixes: ["orders-"] }), true],
    ["of a longer prefix", inQuery({ streamPrefixes: ["orders-eu-"] }), true],
    ["of a shorter prefix", inQuery({ streamPrefixes: ["orders"] }), false],
    ["of streams by name", inQuery({ streams: ["orders-1", "orders-2"] }), true],
    ["of streams by name, one of them not its own", inQuery({ streams: ["orders-1", "x"] }), false],
    [
      "of two items, one of them not its own",
      inQuery({ streams: ["orders-1"] }, { tags: ["t"] }),
      false,
    ],
  ])("%s", (_, request, isAllowed) => {
    expect(allows(orders, read, request)).toBe(isAllowed);
    expect(allows(orders, subscribe, request as MessageInitShape<typeof subscribe.input>)).toBe(
      isAllowed,
    );
    expect(allows(all, read, request)).toBe(true);
  });

  test.each<[string, MessageInitShape<typeof read.input>]>([
    ["by its stream", { selection: { case: "stream", value: "$audit" } }],
    ["by its stream in a query", inQuery({ streams: ["$audit"] })],
    ["by its types", inQuery({ types: ["$AuditDenied"] })],
    ["by its types and a prefix", inQuery({ types: ["$AuditDenied"], streamPrefixes: ["$a"] })],
  ])("of the audit trail needs admin: %s", (_, request) => {
    expect(allows({ ...all, append: "everything", consume: "everything" }, read, request)).toBe(
      false,
    );
    expect(allows({ admin: "everything" }, read, request)).toBe(true);
  });

  test("of names needs a prefix within the grant", () => {
    expect(allows(orders, listStreams, { prefix: "orders-" })).toBe(true);
    expect(allows(orders, listStreams, { prefix: "order" })).toBe(false);
    expect(allows(orders, listStreams, {})).toBe(false);
    expect(allows(orders, listEventTypes, { prefix: "orders-" })).toBe(false);
    expect(allows(all, listEventTypes, {})).toBe(true);
  });

  test("of one stream needs that stream", () => {
    for (const method of [load, getStream]) {
      expect(allows(orders, method, { stream: "orders-1" })).toBe(true);
      expect(allows(orders, method, { stream: "x" })).toBe(false);
    }
    expect(allows(orders, saveSnapshot, { stream: "orders-1" })).toBe(false);
    expect(allows({ append: ["orders-"] }, saveSnapshot, { stream: "orders-1" })).toBe(true);
  });
});

describe("an append", () => {
  const event = (stream: string) => ({ id: "", stream, type: "T", tags: [], idFromClient: false });
  const append = (streams: string[], more: object = {}) => ({
    events: streams.map(event),
    expectations: [],
    conditions: [],
    bytes: 0,
    ...more,
  });
  const judged = (grants: Grants, request: object): boolean =>
    missing(grants, needsOf("annals.v1.EventStoreService/Append", request)) === undefined;
  const grants: Grants = { append: ["a-"], read: ["r-"], consume: ["c"] };
  const item = (more: object) => ({
    streams: [],
    streamPrefixes: [],
    types: [],
    tags: [],
    tagsAny: [],
    ...more,
  });
  const when = (...items: object[]) => ({ conditions: [{ query: { items }, after: 0 }] });

  test.each<[string, object, boolean]>([
    ["to its stream", append(["a-1"]), true],
    ["to several of its streams", append(["a-1", "a-2", "a-1"]), true],
    ["to another stream", append(["r-1"]), false],
    ["without a stream", append([""]), false],
    ["to another stream between its own", append(["a-1", "x", "a-1"]), false],
    [
      "that expects something of a stream it reads",
      append(["a-1"], { expectations: [{ stream: "r-1" }] }),
      true,
    ],
    [
      "that expects something of its own stream",
      append(["a-1"], { expectations: [{ stream: "a-1" }] }),
      true,
    ],
    [
      "that expects something of another stream",
      append(["a-1"], { expectations: [{ stream: "x" }] }),
      false,
    ],
    ["with a condition on what it reads", append(["a-1"], when(item({ streams: ["r-1"] }))), true],
    [
      "with a condition on what it only appends to",
      append(["a-1"], when(item({ streams: ["a-1"] }))),
      false,
    ],
    ["with a condition on a tag", append(["a-1"], when(item({ tags: ["t"] }))), false],
    ["with a condition on everything", append(["a-1"], when()), false],
    ["with its checkpoint", append(["a-1"], { checkpoint: { consumer: "c1" } }), true],
    ["with another's checkpoint", append(["a-1"], { checkpoint: { consumer: "d" } }), false],
  ])("%s", (_, request, isAllowed) => {
    expect(judged(grants, request)).toBe(isAllowed);
  });
});

describe("groups and checkpoints", () => {
  const { createGroup, getGroup, resetGroup, consume, listGroups } = ConsumerGroupService.method;
  const { waitFor, listCheckpoints } = CheckpointService.method;
  const consumer: Grants = { consume: ["billing"] };
  const manager: Grants = { manage: ["billing"], read: ["orders-"] };
  const settings = { query: { items: [{ streamPrefixes: ["orders-"] }] } };
  const afterGroup = { start: { case: "afterGroup", value: "other" } } as const;

  test("a definition needs manage of the name and read of the query", () => {
    expect(allows(manager, createGroup, { name: "billing", settings })).toBe(true);
    expect(allows(manager, createGroup, { name: "billing" })).toBe(false);
    expect(allows(manager, createGroup, { name: "other", settings })).toBe(false);
    expect(allows(consumer, createGroup, { name: "billing", settings })).toBe(false);
  });

  test("what another group says or was needs a grant for that group", () => {
    const replace = { name: "billing", settings, start: afterGroup, replace: true };
    expect(allows(manager, createGroup, { ...replace, replace: false })).toBe(false);
    expect(
      allows({ ...manager, consume: ["other"] }, createGroup, { ...replace, replace: false }),
    ).toBe(true);
    expect(allows({ ...manager, consume: ["other"] }, createGroup, replace)).toBe(false);
    expect(allows(manager, resetGroup, { name: "billing", start: afterGroup })).toBe(false);
  });

  test("a look needs consume or manage, a join consume and read of the group's query", () => {
    expect(allows(consumer, getGroup, { name: "billing" })).toBe(true);
    expect(allows(manager, getGroup, { name: "billing" })).toBe(true);
    expect(allows(consumer, listGroups, { prefix: "billing" })).toBe(true);
    expect(allows(consumer, listGroups, {})).toBe(false);
    const join = { message: { case: "join", value: { group: "billing" } } } as const;
    expect(allows(consumer, consume, join)).toBe(true);
    expect(allows(manager, consume, join)).toBe(false);
    const query = { items: [{ streams: [], streamPrefixes: ["orders-"], types: [] }] };
    expect(missing(consumer, groupNeeds("billing", query))).toMatchObject({ anyOf: ["read"] });
    expect(
      missing({ ...consumer, read: ["orders-"] }, groupNeeds("billing", query)),
    ).toBeUndefined();
  });

  test("a wait and a list of checkpoints need consume", () => {
    expect(allows(consumer, waitFor, { who: { case: "group", value: "billing" } })).toBe(true);
    expect(allows(consumer, waitFor, { who: { case: "consumer", value: "x" } })).toBe(false);
    expect(allows(consumer, listCheckpoints, { prefix: "billing-" })).toBe(true);
    expect(allows(consumer, listCheckpoints, {})).toBe(false);
  });
});

describe("grants", () => {
  test("of several roles add up", () => {
    const both = united([
      { read: ["a"], append: ["x"] },
      { read: ["b", "a"], append: "everything" },
      {},
    ]);
    expect(both).toEqual({ read: ["a", "b"], append: "everything" });
    expect(united([{ append: "everything" }, { append: ["x"] }])).toEqual({ append: "everything" });
  });

  test("of admin are all of them, within its names", () => {
    const need = (permission: Permission, name: string): Need => ({
      anyOf: [permission],
      extent: { kind: "name", name },
    });
    for (const permission of permissions) {
      expect(missing({ admin: ["a-"] }, [need(permission, "a-1")])).toBeUndefined();
      expect(missing({ admin: ["a-"] }, [need(permission, "b")])).toBeDefined();
      expect(
        missing(builtInRoles.get("admin") ?? {}, [need(permission, "$audit")]),
      ).toBeUndefined();
    }
    expect(missing({}, [{ anyOf: ["read"], extent: everything }])).toBeDefined();
  });

  test("that are missing are named", () => {
    const need: Need = { anyOf: ["append", "read"], extent: { kind: "prefix", prefix: "orders-" } };
    const { message, failure } = permissionDenied("billing", need);
    expect(message).toBe(
      'principal "billing" lacks append or read for names that begin with "orders-"',
    );
    expect(failure).toEqual({
      reason: "PERMISSION_DENIED",
      principal: "billing",
      permission: "append or read",
      scope: "orders-",
    });
  });
});

describe("whatever the query and the grant", () => {
  const name = fc.constantFrom("a", "a-1", "a-2", "b", "b-1", "$audit");
  const prefix = fc.constantFrom("a", "a-", "b", "b-1");
  const type = fc.constantFrom("T", "U", "$AuditDenied");
  const item = fc.record<QueryItem>({
    streams: fc.uniqueArray(name, { maxLength: 2 }),
    streamPrefixes: fc.uniqueArray(prefix, { maxLength: 2 }),
    types: fc.uniqueArray(type, { maxLength: 2 }),
    tags: fc.constant([]),
    tagsAny: fc.constant([]),
  });

  test("no event that a permitted query matches is outside the grant", () => {
    fc.assert(
      fc.property(fc.array(item, { maxLength: 3 }), fc.array(prefix), (items, granted) => {
        const needs = groupNeeds("g", { items }).slice(1);
        if (missing({ read: granted }, needs) !== undefined) return;
        for (const stream of ["a", "a-1", "a-2", "b", "b-1", "c", "", "$audit"]) {
          for (const one of ["T", "U", "$AuditDenied"]) {
            if ((stream === "$audit") !== one.startsWith("$")) continue;
            const event = { id: "", stream, type: one, tags: [] };
            if (!matches({ items }, event)) continue;
            expect(granted.some((begin) => stream.startsWith(begin))).toBe(true);
          }
        }
      }),
      { numRuns: 2_000 },
    );
  });

  test("the audit trail is not matched without admin", () => {
    fc.assert(
      fc.property(fc.array(item, { maxLength: 3 }), (items) => {
        const needs = groupNeeds("g", { items }).slice(1);
        if (missing({ read: "everything" }, needs) !== undefined) return;
        const event = { id: "", stream: "$audit", type: "$AuditDenied", tags: [] };
        expect(matches({ items }, event)).toBe(false);
      }),
      { numRuns: 2_000 },
    );
  });
});
