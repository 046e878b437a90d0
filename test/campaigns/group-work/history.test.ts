// What the checker makes of an acknowledgement "up to" a delivery that stands for one that its member
// had thrown away, because its lease was about to end.
import { create } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import {
  ConsumeResponseSchema,
  type ConsumeResponse,
} from "../../../src/gen/annals/v1/consumer_group_service_pb.js";
import type { Calls } from "../../support/calls.ts";
import { contentOf, GroupHistory } from "./history.ts";
import { CampaignMember } from "./member.ts";

const log = [1, 2].map((position) => ({ position, event: { position: BigInt(position) } }));

/** A member gets two events, the first of them late, and acknowledges up to the second. */
async function settling(tokens: readonly string[]): Promise<string[]> {
  const now = BigInt(Math.ceil(Date.now() / 1_000));
  const ends = [{ seconds: now - 1n }, { seconds: now + 60n }];
  const deliveries = log.map(({ position, event }, i) => {
    return { token: `x.${position}`, attempt: 1, event, leaseUntil: ends[i] };
  });
  const said: unknown[] = [];
  async function* answers(): AsyncGenerator<ConsumeResponse> {
    yield create(ConsumeResponseSchema, {
      message: { case: "deliveries", value: { deliveries } },
    });
    yield create(ConsumeResponseSchema, {
      message: { case: "settled", value: { tokens: [...tokens] } },
    });
  }
  const pipe = { send: (message: unknown) => void said.push(message), answers: answers() };
  const calls = { pipe: () => pipe } as unknown as Calls;
  const history = new GroupHistory("g", 8, () => "key");
  const luck = [0.9, 0.72, 0];
  const member = new CampaignMember(calls, history, () => luck.shift() ?? 0.9, {
    permits: 2,
    sound: false,
  });
  await member.ended;
  expect(said.at(-1)).toMatchObject({ message: { case: "ack", value: { upToToken: "x.2" } } });
  const events = deliveries.map((each) =>
    create(ConsumeResponseSchema, {
      message: { case: "deliveries", value: { deliveries: [each] } },
    }),
  );
  const logged = events.flatMap(({ message }, i) =>
    message.case === "deliveries"
      ? message.value.deliveries.map((each) => ({ position: i + 1, content: contentOf(each) }))
      : [],
  );
  history.finish(logged, []);
  return history.violations;
}

test("what the server settles with it is done", async () => {
  expect(await settling(["x.1", "x.2"])).toEqual([]);
});

test("what it does not is lost, if nobody else does it", async () => {
  expect(await settling(["x.2"])).toEqual(["g: position 1: lost: neither done nor parked"]);
});
