// One store of the campaign: the groups over it, who appends, who works, and its end, when sound
// members deal with what is left and everything is compared with the log.
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import type { CallOptions } from "@grpc/grpc-js";
import { CheckpointService } from "../../../src/gen/annals/v1/checkpoint_service_pb.js";
import {
  ConsumerGroupService,
  GroupOrderingSchema,
  GroupSettingsSchema,
  type ParkedEvent,
} from "../../../src/gen/annals/v1/consumer_group_service_pb.js";
import type { RecordedEvent } from "../../../src/gen/annals/v1/event_pb.js";
import { EventStoreService } from "../../../src/gen/annals/v1/event_store_service_pb.js";
import { Calls, collect } from "../../support/calls.ts";
import { contentOf, GroupHistory, type LoggedEvent } from "./history.ts";
import { CampaignMember } from "./member.ts";

const { append, getInfo, read } = EventStoreService.method;
const groups = ConsumerGroupService.method;
const { waitFor } = CheckpointService.method;

const streams = 120;
const tags = 5;
const backlog = 800;
const attemptsMax = 5;
const finishSeconds = 120n;
const lease = { nanos: 700_000_000 };
const retryDelay = { nanos: 5_000_000 };
const retryDelayMax = { nanos: 40_000_000 };
const query = { items: [{ types: ["T"] }] };
const settings = { query, lease, attemptsMax, retryDelay, retryDelayMax };

interface Kind {
  readonly name: string;
  readonly ordering: { readonly case: "stream" } | { readonly case: "tagPrefix" };
  readonly keyOf: (event: RecordedEvent | undefined) => string;
}

const tagOf = (event: RecordedEvent | undefined): string => event?.tags[0] ?? "";
export const groupKinds: readonly Kind[] = [
  { name: "by-stream", ordering: { case: "stream" }, keyOf: (event) => event?.stream ?? "" },
  { name: "by-tag", ordering: { case: "tagPrefix" }, keyOf: tagOf },
];

export class CampaignStore {
  readonly histories: readonly GroupHistory[];
  appended = 0;
  private readonly random: () => number;
  private calls: Calls | undefined;
  private members: CampaignMember[] = [];
  private appending: Promise<void> = Promise.resolve();

  constructor(random: () => number) {
    this.random = random;
    this.histories = groupKinds.map(({ name, keyOf }) => {
      return new GroupHistory(name, attemptsMax, ({ event }) => keyOf(event));
    });
  }

  get violations(): string[] {
    return this.histories.flatMap(({ violations }) => violations);
  }

  get deliveries(): number {
    return this.histories.reduce((sum, { deliveries }) => sum + deliveries, 0);
  }

  /** Everybody comes to a server that was just started. */
  async attach(port: number, sound = false): Promise<void> {
    const calls = new Calls(`127.0.0.1:${port}`);
    this.calls = calls;
    for (const kind of groupKinds) await createCampaignGroup(calls, kind, settings);
    if (!sound) {
      // So much that the members are behind in most keys, for a while.
      for (let i = 0; this.appended < backlog && i < 8; i++) await this.appendSome(calls, 200);
      this.appending = this.append(calls);
    }
    for (const history of this.histories) {
      for (const permits of [1, 6, 40]) void this.work(calls, history, permits, sound);
    }
  }

  /** Answered by the server, or not at all. */
  async roundTrip(): Promise<void> {
    await this.calls?.unary(getInfo, {}, { deadline: Date.now() + 1_000 }).catch(() => {});
  }

  /** The server is gone. */
  async detach(): Promise<void> {
    const { calls } = this;
    this.calls = undefined;
    const ended = this.members.map((member) => member.ended);
    for (const member of this.members.splice(0)) member.hangUp();
    await Promise.all([this.appending, ...ended]);
    calls?.close();
  }

  /** Until nothing is left to do; then everything that was said is compared with the log. */
  async finish(port: number): Promise<void> {
    await this.attach(port, true);
    const calls = this.calls as Calls;
    const log = await logOf(calls);
    const position = BigInt(log.length);
    for (const history of this.histories) {
      const { name } = history;
      const who = { case: "group", value: name } as const;
      try {
        await calls.unary(waitFor, { who, position, timeout: { seconds: finishSeconds } });
        const matching = log.filter(({ type }) => type === "T");
        history.finish(matching.map(logged), await parkedOf(calls, name));
      } catch (error) {
        history.violate(`it does not come to its end: ${(error as Error).message}`);
      }
    }
    await this.detach();
    const after = new Calls(`127.0.0.1:${port}`);
    for (const history of this.histories) {
      if (history.violations.length === 0) await this.replayAll(after, history);
    }
    after.close();
  }

  /** What was parked is to be handed out again; nobody is there to take it. */
  private async replayAll(calls: Calls, history: GroupHistory): Promise<void> {
    const group = history.name;
    const before = (await parkedOf(calls, group)).length;
    const { replayedCount } = await calls.unary(groups.replayParked, { group });
    if (Number(replayedCount) !== before) history.violate(`${replayedCount} of ${before} replayed`);
    const left = await calls.unary(groups.getGroup, { name: group });
    const { lagEvents = 0n, parkedCount = 0n } = left.group ?? {};
    if (Number(lagEvents) !== before) history.violate(`${lagEvents} to do, not ${before}`);
    if (parkedCount !== 0n) history.violate(`${parkedCount} are parked still`);
  }

  private async work(
    calls: Calls,
    history: GroupHistory,
    permits: number,
    sound: boolean,
  ): Promise<void> {
    while (this.calls === calls) {
      const member = new CampaignMember(calls, history, this.random, { permits, sound });
      this.members.push(member);
      await member.ended;
      this.members = this.members.filter((other) => other !== member);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  /** As fast as they are answered, until the server is gone. */
  private async append(calls: Calls): Promise<void> {
    while (this.calls === calls && this.appended < 6_000) {
      await this.appendSome(calls, 1 + Math.floor(this.random() * 6));
      await new Promise((resolve) => setTimeout(resolve, this.random() * 4));
    }
  }

  private async appendSome(calls: Calls, count: number): Promise<void> {
    const { random } = this;
    const events = Array.from({ length: count }, () => ({
      type: random() < 0.85 ? "T" : "U",
      stream: `s-${Math.floor(random() * streams)}`,
      tags: [`k:${Math.floor(random() * tags)}`],
      payload: { case: "data", value: Buffer.from(`${random()}`) } as const,
    }));
    try {
      await calls.unary(append, { events });
      this.appended += events.length;
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }
}

type GroupSettings = MessageInitShape<typeof GroupSettingsSchema>;

/** A group that is there, or cannot be made now, is not made. */
export async function createCampaignGroup(
  calls: Calls,
  { name, ordering }: Kind,
  chosen: GroupSettings,
  options: CallOptions = {},
): Promise<void> {
  const key =
    ordering.case === "stream"
      ? ({ case: "stream", value: {} } as const)
      : ({ case: "tagPrefix", value: "k:" } as const);
  const ordered = create(GroupSettingsSchema, chosen);
  ordered.ordering = create(GroupOrderingSchema, { key });
  await calls.unary(groups.createGroup, { name, settings: ordered }, options).catch(() => {});
}

async function logOf(
  calls: Calls,
  request: MessageInitShape<typeof read.input> = {},
): Promise<RecordedEvent[]> {
  const messages = await collect(calls.stream(read, request));
  return messages.flatMap(({ message }) => (message.case === "batch" ? message.value.events : []));
}

/** All events of a type. */
export async function loggedIn(calls: Calls, type: string): Promise<LoggedEvent[]> {
  const value = { items: [{ types: [type] }] };
  return (await logOf(calls, { selection: { case: "query", value } })).map(logged);
}

export async function parkedOf(calls: Calls, group: string): Promise<ParkedEvent[]> {
  const all: ParkedEvent[] = [];
  for (let pageToken = ""; ;) {
    const page = await calls.unary(groups.listParked, { group, pageSize: 1_000, pageToken });
    all.push(...page.parked);
    pageToken = page.nextPageToken;
    if (pageToken === "") return all;
  }
}

function logged(event: RecordedEvent): LoggedEvent {
  return { position: Number(event.position), content: contentOf({ event }) };
}
