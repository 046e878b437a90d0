// What the SDK's types promise. Checked by the compiler; here they only have to run.
import type { DatabaseSync } from "node:sqlite";
import type { Pool, PoolClient } from "pg";
import { describe, expectTypeOf, test } from "vitest";
import type {
  PostgresConnection,
  postgresReadModel,
} from "../../../src/client/projection/postgres-read-model.ts";
import {
  connect,
  defineEvents,
  isStoreError,
  memoryReadModel,
  MemoryTable,
  repository,
  type AnnalsClient,
  type Decider,
  type JsonEvent,
  type Projection,
  type ReadModel,
  type RecordedEvent,
  type StoreError,
} from "../../../src/client/sdk.ts";
import type { sqliteReadModel } from "../../../src/client/projection/sqlite-read-model.ts";

type Account =
  | { readonly type: "Opened"; readonly data: { readonly owner: string } }
  | { readonly type: "Paid"; readonly data: { readonly cents: number } }
  | { readonly type: "Closed" };

declare const client: AnnalsClient<Account>;
declare const pool: Pool;
declare const simplePool: { connect(): Promise<PostgresConnection & { readonly own: 1 }> };

/** Compiled, never run. */
const assertCompiled = (_work: () => unknown) => {};

describe("events", () => {
  test("are told apart by their type, and carry what was recorded", () => {
    assertCompiled(async () => {
      for await (const event of client.read({ stream: "s" })) {
        expectTypeOf(event.position).toEqualTypeOf<number>();
        expectTypeOf(event.recordedAt).toEqualTypeOf<Date>();
        if (event.type === "Opened") expectTypeOf(event.data.owner).toEqualTypeOf<string>();
        if (event.type === "Paid") expectTypeOf(event.data.cents).toEqualTypeOf<number>();
        // @ts-expect-error: there is no such type
        if (event.type === "Paied") return;
        // @ts-expect-error: only some of them have this
        return event.data.owner;
      }
    });
    expectTypeOf<RecordedEvent<Account>["type"]>().toEqualTypeOf<"Opened" | "Paid" | "Closed">();
  });

  test("are appended only as they were defined", () => {
    assertCompiled(() => client.append("s", { type: "Opened", data: { owner: "a" } }));
    assertCompiled(() =>
      client.append("s", [{ type: "Closed" }, { type: "Paid", data: { cents: 1 } }]),
    );
    assertCompiled(() => client.append([{ type: "Closed", stream: "s", tags: ["t"], id: "" }]));
    // @ts-expect-error: data of another type
    assertCompiled(() => client.append("s", { type: "Paid", data: { owner: "a" } }));
    // @ts-expect-error: no such type
    assertCompiled(() => client.append("s", { type: "Opend", data: { owner: "a" } }));
    // @ts-expect-error: no data
    assertCompiled(() => client.append("s", { type: "Paid" }));
    // @ts-expect-error: no such fact
    assertCompiled(() => client.append("s", { type: "Closed", tag: "t" }));
    // @ts-expect-error: a list of tags
    assertCompiled(() => client.append("s", { type: "Closed", tags: "t" }));
  });

  test("are JSON of any kind where nobody defined them", () => {
    assertCompiled(() => {
      expectTypeOf(connect()).toEqualTypeOf<AnnalsClient<JsonEvent>>();
      expectTypeOf(connect({ events: defineEvents<Account>() })).toEqualTypeOf(client);
      expectTypeOf(client.withEvents(defineEvents<JsonEvent>())).toEqualTypeOf(connect());
    });
  });

  test("have a parser each, or none at all", () => {
    const data = (value: unknown) => value as never;
    assertCompiled(() =>
      defineEvents<Account>({ parse: { Opened: data, Paid: data, Closed: data } }),
    );
    // @ts-expect-error: one is missing
    assertCompiled(() => defineEvents<Account>({ parse: { Opened: data, Paid: data } }));
    assertCompiled(() =>
      defineEvents<Account>({
        parse: {
          // @ts-expect-error: not the data of this type
          Opened: () => ({ cents: 1 }),
          Paid: () => ({ cents: 1 }),
          Closed: () => undefined,
        },
      }),
    );
  });
});

describe("calls", () => {
  test("take a stream, a query or neither", () => {
    assertCompiled(() => client.read({ stream: "s", from: { version: 1 }, limit: 1 }));
    assertCompiled(() => client.read({ query: { types: ["Paid"], tags: ["t"] }, backwards: true }));
    assertCompiled(() => client.subscribe({ query: [{ streamPrefixes: ["a-"] }, {}], after: 7 }));
    assertCompiled(() => client.subscribe({ after: "end" }));
    // @ts-expect-error: not both
    assertCompiled(() => client.read({ stream: "s", query: {} }));
    // @ts-expect-error: no such place
    assertCompiled(() => client.subscribe({ after: "start" }));
  });

  test("expect a version or a state", () => {
    const closed = { type: "Closed" } as const;
    assertCompiled(() => client.append("s", closed, { expect: 3 }));
    assertCompiled(() => client.append("s", closed, { expect: "absent" }));
    // @ts-expect-error: no such state
    assertCompiled(() => client.append("s", closed, { expect: "missing" }));
    // @ts-expect-error: numbers here, not bigints
    assertCompiled(() => client.append("s", closed, { expect: 3n }));
  });
});

describe("errors", () => {
  test("are told apart by their code, exhaustively", () => {
    const spoken = (error: StoreError): string => {
      switch (error.code) {
        case "CONFLICT":
          return error.streams.map(({ actualVersion }) => actualVersion).join();
        case "EVENT_ID_CONFLICT":
          return error.events.map(({ id }) => id).join();
        case "INVALID_ARGUMENT":
          return error.violations.map(({ field }) => field).join();
        case "EXHAUSTED":
          return `${error.reason} ${error.retryAfterMs}`;
        case "UNAVAILABLE":
        case "FAILED_PRECONDITION":
        case "ACCESS_DENIED":
          return error.reason;
        case "STORE_REPLACED":
          return error.actualStoreId;
        case "EPOCH_MISMATCH":
          return `${error.askedEpoch} ${error.sharedThrough}`;
        case "CORRUPTION":
          return `${error.firstPosition}-${error.lastPosition}`;
        case "MALFORMED_EVENT":
        case "POISON_EVENT":
          return `${error.type} ${error.position}`;
        case "MISSING_EVENTS":
          return `${error.stream} ${error.version}`;
        case "SERVER":
          return error.status;
        case "NOT_FOUND":
        case "BEYOND_HEAD":
        case "TIMED_OUT":
        case "LOST_DELIVERY":
          return error.message;
      }
    };
    assertCompiled(() => {
      const caught: unknown = undefined;
      if (isStoreError(caught)) spoken(caught);
    });
  });
});

describe("deciders", () => {
  interface State {
    readonly cents: number;
  }
  const initial = () => ({ cents: 0 });
  const evolve = (state: State): State => state;

  test("decide on their own events, at once", () => {
    const one: Decider<State, number, Account> = {
      initial,
      evolve,
      decide: (cents) => ({ type: "Paid", data: { cents } }),
    };
    assertCompiled(async () => {
      const { state, events } = await repository(client, one).handle("s", 5);
      expectTypeOf(state).toEqualTypeOf<State>();
      expectTypeOf(events[0]).toEqualTypeOf<RecordedEvent<Account> | undefined>();
      // @ts-expect-error: the command is a number
      await repository(client, one).handle("s", "5");
    });
    // @ts-expect-error: an event of another kind
    const other: Decider<State, number, Account> = { ...one, decide: () => ({ type: "Sold" }) };
    // @ts-expect-error: deciding does not wait
    const slow: Decider<State, number, Account> = { ...one, decide: async () => [] };
    assertCompiled(() => [other, slow]);
  });
});

describe("projections", () => {
  test("have handlers of the types there are, with the event of that type", () => {
    const balances = new MemoryTable<string, number>();
    const tables = { balances };
    const projection: Projection<Account, typeof tables> = {
      name: "p",
      version: 1,
      setup: (tx) => tx.balances.clear(),
      when: {
        Paid: (event, tx) => {
          expectTypeOf(event.data.cents).toEqualTypeOf<number>();
          tx.balances.set(event.stream, event.data.cents);
        },
        // @ts-expect-error: there is no such type
        Sold: () => {},
      },
    };
    assertCompiled(() => projection);
    expectTypeOf(memoryReadModel(tables)).toEqualTypeOf<ReadModel<typeof tables>>();
  });

  test("get the transaction of their own driver", () => {
    type OfPg = ReturnType<typeof postgresReadModel<typeof pool>>;
    expectTypeOf<OfPg>().toEqualTypeOf<ReadModel<PoolClient>>();
    type OfSimple = ReturnType<typeof postgresReadModel<typeof simplePool>>;
    expectTypeOf<OfSimple>().toEqualTypeOf<ReadModel<PostgresConnection & { readonly own: 1 }>>();
    type OfSqlite = ReturnType<typeof sqliteReadModel<DatabaseSync>>;
    expectTypeOf<OfSqlite>().toEqualTypeOf<ReadModel<DatabaseSync>>();
  });
});
