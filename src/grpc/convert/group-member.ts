// Converts the messages of a group's member, and those sent to it. Deliveries are written around
// the stored records, which are not decoded in the full view.

import { create } from "@bufbuild/protobuf";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { type AnnalsError, invalidField } from "../../domain/errors.ts";
import type { Limits } from "../../domain/limits.ts";
import {
  ConsumeResponseSchema,
  type ConsumeRequest,
  type ConsumeRequest_Ack,
  type ConsumeResponse,
} from "../../gen/annals/v1/consumer_group_service_pb.js";
import type {
  MemberDelivery,
  MemberMessage,
  MemberRequest,
  MemberWish,
} from "../../log/group-verbs.ts";
import type { Encoded } from "../transport/methods.ts";
import { inView, wrap } from "./batches.ts";
import { checkConsumerName } from "./checkpoint.ts";
import { checkCount, checkText, Violations } from "./checks.ts";
import { checkAmount } from "./group.ts";
import { convertView, type EventView } from "./read-request.ts";
import { checkDuration, timeSpan, timestamp } from "./time.ts";

/** Fields of `ConsumeResponse`, `Deliveries` and `Delivery`. */
const tagDeliveries = 0x12;
const tagDelivery = 0x0a;
const tagEvent = 0x22;

export interface JoinAsked {
  readonly group: string;
  readonly wish: MemberWish;
  readonly view: EventView;
}

/** Throws INVALID_FIELD if the message is no `join`. */
export function convertJoin({ message }: ConsumeRequest, limits: Limits): JoinAsked {
  if (message.case !== "join") {
    throw invalidField("join", `is required first: ${message.case ?? "nothing"} came before it`);
  }
  const { group, member: name, view, permits } = message.value;
  const v = new Violations();
  checkConsumerName(v, "join.group", group, limits);
  const { consumerNameBytesMax: bytesMax, memberPermitsMax } = limits;
  checkText(v, "join.member", name, { name: "consumer_name_bytes_max", bytesMax });
  // A member that does not set permits takes one event at a time.
  const wanted = checkAmount(v, "join.permits", permits === 0 ? 1 : permits, 1, memberPermitsMax);
  const seen = convertView(v, "join.view", view);
  v.throwIfAny();
  return { group, wish: { name, permits: wanted }, view: seen };
}

/** Throws INVALID_FIELD. */
export function convertMemberRequest({ message }: ConsumeRequest, limits: Limits): MemberRequest {
  const v = new Violations();
  const request = requestOf(v, message, limits);
  v.throwIfAny();
  return request;
}

function requestOf(
  v: Violations,
  message: ConsumeRequest["message"],
  limits: Limits,
): MemberRequest {
  const { groupDelayMaxMs, groupLeaseMinMs, groupLeaseMaxMs, memberPermitsMax } = limits;
  switch (message.case) {
    case undefined:
      throw invalidField("message", "is required: permits, ack, nack, extend, park or release");
    case "join":
      throw invalidField("join", "comes once: the call is a member already");
    case "permits": {
      const { count } = message.value;
      return {
        kind: "permits",
        count: checkAmount(v, "permits.count", count, 1, memberPermitsMax),
      };
    }
    case "ack":
      return ackOf(v, message.value, limits);
    case "nack": {
      const { tokens, delay, reason } = message.value;
      checkTokens(v, "nack.tokens", tokens, limits);
      checkReason(v, "nack.reason", reason, limits);
      const delayMs = delay && checkDuration(v, "nack.delay", delay, 0, groupDelayMaxMs);
      return { kind: "nack", tokens, delayMs, reason };
    }
    case "extend": {
      const { tokens, lease } = message.value;
      checkTokens(v, "extend.tokens", tokens, limits);
      const leaseMs =
        lease && checkDuration(v, "extend.lease", lease, groupLeaseMinMs, groupLeaseMaxMs);
      return { kind: "extend", tokens, leaseMs };
    }
    case "release": {
      const { tokens } = message.value;
      if (tokens.length > 0) checkTokens(v, "release.tokens", tokens, limits);
      return { kind: "release", tokens };
    }
    case "park": {
      const { tokens, reason } = message.value;
      checkTokens(v, "park.tokens", tokens, limits);
      checkReason(v, "park.reason", reason, limits);
      return { kind: "park", tokens, reason };
    }
  }
}

function ackOf(
  v: Violations,
  { tokens, upToToken: upTo }: ConsumeRequest_Ack,
  limits: Limits,
): MemberRequest {
  if (tokens.length > 0 || upTo === "") checkTokens(v, "ack.tokens", tokens, limits);
  if (upTo !== "") checkToken(v, "ack.up_to_token", upTo, limits);
  return { kind: "ack", tokens, upTo };
}

function checkTokens(
  v: Violations,
  field: string,
  tokens: readonly string[],
  limits: Limits,
): void {
  const { groupListMax } = limits;
  if (tokens.length === 0) v.add(field, "is required: at least one token");
  checkCount(v, field, tokens.length, "the limit", groupListMax);
  const within = tokens.slice(0, groupListMax);
  within.forEach((token, i) => checkToken(v, `${field}[${i}]`, token, limits));
}

function checkToken(v: Violations, field: string, token: string, { tokenBytesMax }: Limits): void {
  const bytes = Buffer.byteLength(token);
  if (bytes > tokenBytesMax)
    v.add(field, `has ${bytes} bytes; no token has more than ${tokenBytesMax}`);
}

/** A text for people, which may have line breaks. */
function checkReason(
  v: Violations,
  field: string,
  reason: string,
  { parkReasonBytesMax }: Limits,
): void {
  const bytes = Buffer.byteLength(reason);
  if (bytes <= parkReasonBytesMax) return;
  v.add(field, `has ${bytes} bytes of UTF-8, more than the limit (${parkReasonBytesMax})`);
}

export function wireJoined(leaseMs: number, permits: number): ConsumeResponse {
  const value = { lease: timeSpan(leaseMs * 1_000), permits };
  return create(ConsumeResponseSchema, { message: { case: "joined", value } });
}

/** Messages to a member other than deliveries. */
export function wireNews(message: Exclude<MemberMessage, { kind: "deliveries" }>): ConsumeResponse {
  switch (message.kind) {
    case "settled":
    case "refused": {
      const value = { tokens: [...message.tokens] };
      return create(ConsumeResponseSchema, { message: { case: message.kind, value } });
    }
    case "heartbeat": {
      const value = { position: BigInt(message.position) };
      return create(ConsumeResponseSchema, { message: { case: "heartbeat", value } });
    }
  }
}

/** Deliveries as messages. Usually one; more if a view makes them large. */
export function* deliveryMessages(
  deliveries: readonly MemberDelivery[],
  view: EventView,
  limits: Limits,
): Generator<Encoded<ConsumeResponse>> {
  let parts: Uint8Array[] = [];
  let bytes = 0;
  for (const delivery of deliveries) {
    const part = wrap(tagDelivery, deliveryParts(delivery, view, limits));
    if (bytes > 0 && bytes + part.length > limits.batchBytesMax) {
      yield wrap(tagDeliveries, parts);
      parts = [];
      bytes = 0;
    }
    parts.push(part);
    bytes += part.length;
  }
  if (bytes > 0) yield wrap(tagDeliveries, parts);
}

function deliveryParts(
  { token, attempt, leaseUntil, record }: MemberDelivery,
  view: EventView,
  limits: Limits,
): Uint8Array[] {
  const { seconds, nanos } = timestamp(leaseUntil);
  const head = new BinaryWriter();
  head.tag(1, WireType.LengthDelimited).string(token);
  head.tag(2, WireType.Varint).uint32(attempt);
  head.tag(3, WireType.LengthDelimited).fork();
  head.tag(1, WireType.Varint).int64(seconds).tag(2, WireType.Varint).int32(nanos).join();
  return [head.finish(), wrap(tagEvent, inView(record, view, limits))];
}

/** The error for a call that ended before it joined. */
export function neverJoined(): AnnalsError {
  return invalidField("join", "is required: the call ended before it");
}
