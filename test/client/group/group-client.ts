// What the tests of groups by the SDK share: a server, a client, and groups over events of their own.
import { afterAll, afterEach, beforeAll } from "vitest";
import {
  connect,
  type AnnalsClient,
  type GroupDelivery,
  type JsonEvent,
} from "../../../src/client/sdk.ts";
import { startTestServer, type TestServer } from "../../support/running-server.ts";

/** Of the tests of the file that calls `useClient`. */
export let client: AnnalsClient<JsonEvent>;
let server: TestServer;
const ends: (() => unknown)[] = [];

export function useClient(): void {
  beforeAll(async () => {
    server = await startTestServer();
    client = connect({ address: server.address });
  });
  afterEach(async () => {
    for (const end of ends.splice(0).toReversed()) await end();
  });
  afterAll(async () => {
    client.close();
    await server.stop();
  });
}

/** What is to be done after the test, the last one first. */
export function afterwards(end: () => unknown): void {
  ends.push(end);
}

let names = 0;
export const fresh = (): string => `sdk-${names++}`;

/** A group over events of its own: `aab` is two to a stream a and one to b. */
export async function groupOver(name: string, streams: string, settings = {}): Promise<void> {
  let data = 0;
  for (const stream of streams) {
    await client.append(`${name}-${stream}`, { type: name, data: ++data });
  }
  await client.groups.create(name, { query: { types: [name] }, ...settings });
}

export const lagOf = async (name: string) => (await client.groups.get(name))?.lagEvents;

/** The next of a member, at a time of the test's choosing. */
export function membership(name: string, options = {}) {
  const iterator = client.group(name, options)[Symbol.asyncIterator]();
  afterwards(() => iterator.return?.());
  return async (): Promise<GroupDelivery<JsonEvent>> => {
    const next = await iterator.next();
    if (next.done === true) throw new Error("no delivery");
    return next.value;
  };
}
