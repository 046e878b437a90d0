// A stream's first revision ($tb) is looked for among events that an age limit hides today, and did
// not hide when the source recorded the change.
import { expect, test } from "vitest";
import { withSession } from "../../../src/cli/connection/session.ts";
import { KeptTimes } from "../../../src/cli/import/kept-times.ts";
import { MoveTarget } from "../../../src/cli/import/move-target.ts";
import type { EventSource, SourceItem } from "../../../src/cli/import/source.ts";
import { EventStoreService } from "../../../src/gen/annals/v1/event_store_service_pb.js";
import { collect } from "../../support/calls.ts";
import { startTestServer } from "../../support/running-server.ts";

const source: EventSource = {
  name: "kurrentdb://source:2113",
  kind: "kurrentdb",
  idKey: "client-id",
  head: () => Promise.resolve(7n),
  async *read() {},
  isTemporary: () => false,
  close: () => Promise.resolve(),
};
const yearSeconds = 365 * 86_400;
const yearOf = (ago: number, day: string) =>
  `${new Date().getUTCFullYear() - ago}-${day}T00:00:00Z`;

function event(position: bigint, recordedAt: string): SourceItem {
  const content = {
    contentType: "application/json",
    payload: { case: "data", value: new Uint8Array([123, 125]) },
  } as const;
  const id = `0190a000-0000-7000-8000-00000000000${position}`;
  const said = { id, stream: "order-1", type: "T", tags: [], metadata: {}, ...content };
  const revision = position <= 3n ? position - 1n : position - 2n;
  return { kind: "event", position, event: { ...said, recordedAt, revision } };
}
function change(
  position: bigint,
  recordedAt: string,
  maxAgeSeconds: number | undefined,
  first: bigint | undefined,
): SourceItem {
  const policy = {
    kind: "policy",
    maxAgeSeconds,
    maxCount: undefined,
    firstRevision: first,
    labels: {},
  } as const;
  return { kind: "change", position, stream: "order-1", change: policy, recordedAt };
}

test("a truncation keeps what it kept at the source", async () => {
  const target = await startTestServer(["--keep-times"]);
  const terminal = { environment: {}, signal: new AbortController().signal } as never;
  await withSession({ address: target.address }, terminal, async (session) => {
    const move = new MoveTarget(source, session, {
      timeoutMs: 10_000,
      isLive: false,
      times: new KeptTimes(),
    });
    await move.resume?.();
    await move.store([
      event(1n, yearOf(5, "01-01")),
      event(2n, yearOf(5, "01-02")),
      event(3n, yearOf(5, "01-03")),
    ]);
    await move.store([change(4n, yearOf(5, "01-04"), 4 * yearSeconds, undefined)]);
    await move.store([event(5n, yearOf(2, "01-01"))]);
    // Nothing is older than four years yet: only the first event goes.
    await move.store([change(6n, yearOf(2, "01-02"), 4 * yearSeconds, 1n)]);
    // And nothing is removed by its age any more.
    await move.store([change(7n, yearOf(2, "01-03"), undefined, 1n)]);
  });
  const messages = await collect(
    target.calls.stream(EventStoreService.method.read, {
      selection: { case: "stream", value: "order-1" },
    }),
  );
  const left = messages.flatMap(({ message }) =>
    message.case === "batch" ? message.value.events : [],
  );
  await target.stop();
  expect(left.map(({ version }) => version)).toEqual([2n, 3n, 4n]);
});
