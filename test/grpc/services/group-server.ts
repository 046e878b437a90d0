// What the tests of consumer groups over a real connection share: a server, and groups over events
// of their own.
import { afterAll, beforeAll, expect } from "vitest";
import { ConsumerGroupService } from "../../../src/gen/annals/v1/consumer_group_service_pb.js";
import { EventStoreService } from "../../../src/gen/annals/v1/event_store_service_pb.js";
import type { Calls } from "../../support/calls.ts";
import { startTestServer, type TestServer } from "../../support/running-server.ts";

const { append } = EventStoreService.method;
const groups = ConsumerGroupService.method;

let server: TestServer;
/** A server for the tests of the file that calls this. */
export function useServer(): void {
  beforeAll(async () => {
    server = await startTestServer();
  });
  afterAll(() => server.stop());
}

export const calls = (): Calls => server.calls;
export const address = (): string => server.address;

let names = 0;
/** A name of its own for each test. */
export const fresh = (): string => `g-${names++}`;
export const seconds = (n: number) => ({ seconds: BigInt(n) });

/** An event to each stream named, of a type of the group's own. */
export async function events(name: string, streams: string): Promise<number> {
  const all = streams.split("").map((stream) => ({ type: name, stream: `${name}-${stream}` }));
  const { firstPosition } = await server.calls.unary(append, { events: all });
  return Number(firstPosition);
}

export const query = (name: string) => ({ items: [{ types: [name] }] });

/** A group over its own events: `aab` is two of a stream a and one of b. Answers the first position. */
export async function groupOver(name: string, streams: string, settings = {}): Promise<number> {
  const first = streams === "" ? 0 : await events(name, streams);
  await server.calls.unary(groups.createGroup, {
    name,
    settings: { query: query(name), ...settings },
  });
  return first;
}

export const get = async (name: string) =>
  (await server.calls.unary(groups.getGroup, { name })).group ?? expect.unreachable();

/** Which fields a request is refused for. */
export const fieldsOf = (failure: { badRequest?: { fieldViolations: { field: string }[] } }) =>
  failure.badRequest?.fieldViolations.map(({ field }) => field);
