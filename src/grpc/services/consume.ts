// Consume: a member of a group, for as long as its call lasts. What it is told is pulled by its
// window, what it says goes to the group; whichever ends first ends the other.

import { AnnalsError } from "../../domain/errors.ts";
import type {
  ConsumeRequest,
  ConsumeResponse,
} from "../../gen/annals/v1/consumer_group_service_pb.js";
import type { GroupMember } from "../../log/group-verbs.ts";
import type { Answer } from "../transport/bind.ts";
import type { Context } from "./context.ts";
import {
  convertJoin,
  convertMemberRequest,
  deliveryMessages,
  neverJoined,
  wireJoined,
  wireNews,
} from "../convert/group-member.ts";

export async function* consume(
  { log, limits }: Context,
  requests: AsyncIterable<ConsumeRequest>,
): AsyncGenerator<Answer<ConsumeResponse>> {
  const incoming = requests[Symbol.asyncIterator]();
  const first = await incoming.next();
  if (first.done === true) throw neverJoined();
  const { group, wish, view } = convertJoin(first.value, limits);
  const member = await log.groups.join(group, wish);
  const listening = listen(member, incoming, limits);
  // Its error is for the end of the call, which may come without anybody asking for it.
  listening.catch(() => {});
  try {
    yield wireJoined(member.leaseMs, wish.permits);
    for await (const message of member.messages()) {
      if (message.kind !== "deliveries") yield wireNews(message);
      else yield* deliveryMessages(message.deliveries, view, limits);
    }
  } finally {
    member.leave();
  }
  await listening;
}

/** Until the member has said its last word. Its failure ends the member. */
async function listen(
  member: GroupMember,
  incoming: AsyncIterator<ConsumeRequest>,
  limits: Context["limits"],
): Promise<void> {
  try {
    for (;;) {
      const next = await incoming.next();
      if (next.done === true) break;
      const room = member.handle(convertMemberRequest(next.value, limits));
      if (room !== undefined) await room;
    }
    member.finish();
  } catch (error) {
    // The group ends its members itself when the server stops, once what they said is durable.
    if (error instanceof AnnalsError && error.reason === "STOPPING") return;
    member.leave();
    throw error;
  }
}
