// ListParked: parked events with their records, a page at a time. Records may be large: they are
// read and put into the view asked for only as far as a page holds them.

import { create, toBinary } from "@bufbuild/protobuf";
import { positionMax } from "../../domain/limits.ts";
import {
  ParkedEventSchema,
  type ListParkedRequest,
  type ListParkedResponse,
} from "../../gen/annals/v1/consumer_group_service_pb.js";
import type { ParkedEvent } from "../../log/group-verbs.ts";
import type { Encoded } from "../transport/bind.ts";
import type { Context } from "./context.ts";
import { inView, wrap } from "../convert/batches.ts";
import { checkConsumerName } from "../convert/checkpoint.ts";
import { pageBytesMax, pageOf } from "../convert/page.ts";
import { convertView, type EventView } from "../convert/read-request.ts";
import { timestamp } from "../convert/time.ts";
import { Violations } from "../convert/checks.ts";

const tagParked = 0x0a;
const tagNextPageToken = 0x12;
const tagEvent = 0x2a;

interface Entry {
  readonly position: number;
  readonly bytes: Buffer;
}

export async function listParked(
  { log, limits }: Context,
  wire: ListParkedRequest,
): Promise<Encoded<ListParkedResponse>> {
  const v = new Violations();
  const group = checkConsumerName(v, "group", wire.group, limits);
  const view = convertView(v, "view", wire.view);
  v.throwIfAny();
  const { entries, nextPageToken } = await pageOf(
    wire,
    limits,
    ["ListParked", group],
    ({ position }: Entry) => `${position}`,
    ({ bytes }) => bytes.length,
    async (cursor, limit) => {
      const after = cursor === "" ? 0 : Math.min(Number(cursor), positionMax);
      const page = { group, after, limit, bytesMax: pageBytesMax };
      const parked = await log.groups.listParked(page);
      return parked.map((one) => entryOf(one, view, limits));
    },
  );
  const parts = entries.map(({ bytes }) => bytes);
  if (nextPageToken !== "") parts.push(wrap(tagNextPageToken, [Buffer.from(nextPageToken)]));
  return Buffer.concat(parts);
}

function entryOf(
  { position, attempts, reason, parkedAt, record }: ParkedEvent,
  view: EventView,
  limits: Context["limits"],
): Entry {
  const fields = { position: BigInt(position), attempts, reason, parkedAt: timestamp(parkedAt) };
  const head = toBinary(ParkedEventSchema, create(ParkedEventSchema, fields));
  const event = record === undefined ? [] : [wrap(tagEvent, inView(record, view, limits))];
  return { position, bytes: wrap(tagParked, [head, ...event]) };
}
