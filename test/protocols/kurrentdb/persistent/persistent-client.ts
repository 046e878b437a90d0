// A consumer of persistent subscriptions to the stream `s`, in the group `g`.
import type { Metadata } from "@grpc/grpc-js";
import type { MessageInitShape } from "@bufbuild/protobuf";
import {
  PersistentSubscriptions,
  type CreateReq_SettingsSchema,
  type ReadResp_ReadEvent,
} from "../../../../src/gen/event_store/client/persistent_subscriptions/persistent_subscriptions_pb.js";
import { nextOf, type Calls } from "../../../support/calls.ts";
import { named } from "../kurrent-client.ts";

export const p = PersistentSubscriptions.method;
type Settings = MessageInitShape<typeof CreateReq_SettingsSchema> & { $typeName?: never };

export const usual: Settings = {
  maxRetryCount: 10,
  messageTimeout: { case: "messageTimeoutMs", value: 30_000 },
  checkpointAfter: { case: "checkpointAfterMs", value: 2_000 },
  consumerStrategy: "RoundRobin",
};
export const place = { streamIdentifier: named("s"), groupName: "g" };
export const bySource = {
  streamOption: { case: "streamIdentifier", value: named("s") },
  groupName: "g",
} as const;

/** With a start: `start`, `end` or a revision. */
export function create(
  calls: Calls,
  settings: Settings = {},
  start: "start" | "end" | bigint = "start",
) {
  const revisionOption =
    typeof start === "bigint"
      ? ({ case: "revision", value: start } as const)
      : ({ case: start, value: {} } as const);
  const value = { streamIdentifier: named("s"), revisionOption };
  const streamOption = { case: "stream", value } as const;
  return calls.unary(p.create, {
    options: { ...place, streamOption, settings: { ...usual, ...settings } },
  });
}

export interface Got {
  /** The link's, if there is one. */
  readonly id: string;
  /** Type and number of retries: `T 0`. */
  readonly text: string;
}

export class Reader {
  private readonly call;

  constructor(calls: Calls, bufferSize = 10, source = "s", groupName = "g", headers?: Metadata) {
    this.call = calls.pipe(p.read, {}, headers);
    const streamOption =
      source === "all"
        ? ({ case: "all", value: {} } as const)
        : ({ case: "streamIdentifier", value: named(source) } as const);
    const uuidOption = { content: { case: "string", value: {} } } as const;
    const value = { streamOption, groupName, bufferSize, uuidOption };
    this.call.send({ content: { case: "options", value } });
  }

  async confirmed(): Promise<this> {
    const { content } = await nextOf(this.call.answers);
    if (content.case !== "subscriptionConfirmation") throw new Error("not confirmed");
    return this;
  }

  async get(count: number): Promise<Got[]> {
    const got: Got[] = [];
    while (got.length < count) {
      const { content } = await nextOf(this.call.answers);
      const { event, link, count: retries } = content.value as ReadResp_ReadEvent;
      const text = `${event?.metadata["type"]} ${retries.value as number}`;
      got.push({ id: (link ?? event)?.id?.value.value as string, text });
    }
    return got;
  }

  ack(...got: readonly Got[]): void {
    this.call.send({ content: { case: "ack", value: { ids: idsOf(got) } } });
  }

  nack(action: number, ...got: readonly Got[]): void {
    this.call.send({ content: { case: "nack", value: { ids: idsOf(got), action, reason: "r" } } });
  }

  next(): Promise<unknown> {
    return nextOf(this.call.answers);
  }

  cancel(): void {
    this.call.cancel();
  }
}

const idsOf = (got: readonly Got[]) =>
  got.map(({ id }) => ({ value: { case: "string", value: id } }) as const);
export const texts = (got: readonly Got[]) => got.map(({ text }) => text);
export const types = (...names: string[]) => names.map((type) => ({ type }));

export const infoOf = async (calls: Calls) =>
  (await calls.unary(p.getInfo, { options: bySource })).subscriptionInfo;
