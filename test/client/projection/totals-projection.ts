// What the tests of running projections share: a server, a client, and a projection of payments into
// totals by stream, whose handler fails where the test wants it.
import { afterAll, afterEach, beforeAll, beforeEach } from "vitest";
import {
  connect,
  defineEvents,
  memoryReadModel,
  MemoryTable,
  runProjection,
  type AnnalsClient,
  type Projection,
  type ReadModel,
  type RunningProjection,
  type RunOptions,
} from "../../../src/client/sdk.ts";
import { startTestServer, type TestServer } from "../../support/running-server.ts";

export type Money =
  | { readonly type: "Paid"; readonly data: { readonly cents: number } }
  | { readonly type: "Noted"; readonly data: { readonly text: string } };

export const paid = (cents: number) => ({ type: "Paid", data: { cents } }) as const;
export const noted = { type: "Noted", data: { text: "x" } } as const;

export class Tables {
  readonly totals = new MemoryTable<string, number>();
  readonly order = new MemoryTable<number, number>();
  begin(): void {
    this.totals.begin();
    this.order.begin();
  }
  end(keep: boolean): void {
    this.totals.end(keep);
    this.order.end(keep);
  }
}

export let server: TestServer;
export let client: AnnalsClient<Money>;
export let tables: Tables;
export let model: ReadModel<{ tables: Tables }>;
/** Positions whose handler throws. */
export let poison: Set<number>;
export let attempts: number;
export const running: RunningProjection[] = [];

beforeAll(async () => {
  server = await startTestServer();
});
beforeEach(() => {
  tables = new Tables();
  model = memoryReadModel({ tables });
  poison = new Set();
  attempts = 0;
  client = connect({ address: server.address, events: defineEvents<Money>() });
});
afterEach(async () => {
  await Promise.all(running.splice(0).map((one) => one.stop()));
  client.close();
});
afterAll(() => server.stop());

/** Totals by stream, of streams that begin with the prefix. */
export function totals(prefix: string, version = 1): Projection<Money, { tables: Tables }> {
  return {
    name: `totals of ${prefix}`,
    version,
    query: { streamPrefixes: [prefix] },
    setup: (tx) => {
      tx.tables.totals.clear();
      tx.tables.order.clear();
    },
    when: {
      Paid: ({ stream, position, data }, tx) => {
        tx.tables.order.set(position, tx.tables.order.size + 1);
        tx.tables.totals.set(stream, (tx.tables.totals.get(stream) ?? 0) + data.cents * version);
        if (!poison.has(position)) return;
        attempts += 1;
        throw new Error(`the handler fails at ${position}`);
      },
    },
  };
}

export function run(projection: Projection<Money, { tables: Tables }>, options: RunOptions = {}) {
  const one = runProjection(client, projection, model, options);
  running.push(one);
  return one;
}

export const rows = () => Object.fromEntries(tables.totals.rows());
let prefixes = 0;
export const newPrefix = () => `p${++prefixes}-`;

/** Appends so many payments, one by one, and answers the last position. */
export async function pay(stream: string, ...cents: number[]): Promise<number> {
  return (await client.append(stream, cents.map(paid))).lastPosition;
}
