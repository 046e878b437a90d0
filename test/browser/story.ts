// What the console is shown with: a shop with orders and customers, and what is hard to show: long
// numbers, bytes, a large payload, names that would trick a page or its reader.
import type { AnnalsClient } from "../../src/client/annals-client.ts";
import { connect } from "../../src/client/connect.ts";
import type { JsonEvent } from "../../src/client/store/define-events.ts";
import { StreamService } from "../../src/gen/annals/v1/stream_service_pb.js";
import { Calls } from "../support/calls.ts";

export type JsonClient = AnnalsClient<JsonEvent>;

export const hostile = {
  stream: "user-<img src=x onerror=alert(1)>\u202egnp.exe",
  type: "<script>alert(1)</script>",
  tag: "tag\u200b\u2066",
  key: "<b>key\u200b",
  text: '"><svg onload=alert(1)>\u202e\u0007\u200f',
};
/** More digits than a double has. */
export const exactJson = '{"amount":12345678901234567890.10,"id":9007199254740993,"rate":1.0}';
/** Of a payload that is not kept in lists. */
const largeBytes = 1024 * 1024;
const largeItems = 20_000;

const cities = ["Lisbon", "Leipzig", "Lyon", "Ljubljana", "Lund"];
const goods = ["Notebook A5", "Fountain pen", "Ink, blue-black", "Desk lamp", "Bookmark"];

export interface Raw {
  readonly type: string;
  readonly contentType: string;
  /** Bytes, or a text in UTF-8. */
  readonly payload: Uint8Array | string;
  readonly tags?: string[];
  readonly metadata?: Record<string, string>;
}

export const jsonType = "application/json";

/** Appends an event with exactly these bytes. */
export async function appendRaw(client: JsonClient, stream: string, event: Raw): Promise<void> {
  const { payload: given, ...rest } = event;
  const value = typeof given === "string" ? new TextEncoder().encode(given) : given;
  const events = [{ ...rest, payload: { case: "data" as const, value } }];
  await client.rpc.append({ stream, events }, {});
}

/** An order from its placing to its end, in one append. */
export async function placeOrder(client: JsonClient, number: number): Promise<void> {
  const customer = `customer:${1 + (number % 23)}`;
  const tags = [customer, `tenant:t${1 + (number % 3)}`];
  const metadata = { correlation: `req-${(number * 7_919).toString(36)}`, user: "shop" };
  const total = 900 + ((number * 377) % 9_000);
  const lines = [
    { article: goods[number % 5], count: 1 + (number % 3), price: total - 300 },
    { article: goods[(number + 2) % 5], count: 1, price: 300 },
  ];
  const shipTo = { city: cities[number % 5], country: "PT" };
  const event = (type: string, data: object) => ({ type, data, tags, metadata });
  const events = [
    event("OrderPlaced", { customer, total, currency: "EUR", lines, shipTo }),
    event("PaymentReceived", { status: "paid", payment: { total, by: "card" } }),
  ];
  if (number % 2 === 0) events.push(event("OrderShipped", { status: "shipped", carrier: "DHL" }));
  if (number % 7 === 0) events.push(event("OrderReturned", { status: "returned", carrier: null }));
  await client.append(`order-${1_000 + number}`, events);
}

async function users(client: JsonClient): Promise<void> {
  for (let number = 1; number <= 12; number += 1) {
    const data = { name: `User ${number}`, plan: number % 3 === 0 ? "pro" : "free" };
    await client.append(`user-${number}`, { type: "UserRegistered", data });
  }
  for (let version = 2; version <= 9; version += 1) {
    const address = { city: cities[version % 5] ?? "", since: 2010 + version };
    const data = { plan: version > 5 ? "pro" : "free", address };
    await client.append("user-1", { type: "UserMoved", data });
  }
  const state = new TextEncoder().encode('{"plan":"free","visits":9007199254740993}');
  await client.snapshots.save({ stream: "user-1", version: 5, state, contentType: jsonType });
}

/** What a page must neither obey, nor round, nor stop at. */
async function oddEvents(client: JsonClient): Promise<void> {
  const booked = { type: "AmountBooked", contentType: jsonType, payload: exactJson };
  await appendRaw(client, "ledger-1", booked);
  const bytes = Uint8Array.from({ length: 300 }, (_, index) => index % 256);
  await appendRaw(client, "photo-1", {
    type: "PhotoTaken",
    contentType: "image/raw",
    payload: bytes,
  });
  const items = Array.from({ length: largeItems }, (_, index) => `"item ${index} of a long list"`);
  const list = `{"items":[${items.join(",")}],"rest":"`;
  const payload = `${list}${"x".repeat(largeBytes - list.length - 2)}"}`;
  await appendRaw(client, "archive-1", { type: "ArchiveImported", contentType: jsonType, payload });
  await appendRaw(client, hostile.stream, {
    type: hostile.type,
    contentType: jsonType,
    payload: JSON.stringify({ [hostile.text]: hostile.text, plain: "safe" }),
    tags: [hostile.tag],
    metadata: { [hostile.key]: hostile.text },
  });
}

/** A member that settles some events of a group and parks others. */
async function parkSome(client: JsonClient): Promise<void> {
  await client.groups.create("mails", { query: { types: ["OrderPlaced"] } });
  await client.groups.create("invoices");
  let seen = 0;
  for await (const delivery of client.group("mails", { member: "mailer-1", permits: 4 })) {
    seen += 1;
    if (seen % 3 === 0) await delivery.park("SMTP 550: no such mailbox <ann@example.com>");
    else await delivery.ack();
    if (seen === 9) return;
  }
}

/** One stream is deleted, another one keeps its newest events only. */
async function endSome(address: string): Promise<void> {
  const calls = new Calls(address);
  const who = { actor: "ann", reason: "the customer asked for it" };
  await calls.unary(StreamService.method.deleteStream, { stream: "user-12", ...who });
  const policy = { maxCount: 6n, labels: { owner: "team accounts" } };
  await calls.unary(StreamService.method.updateStream, {
    stream: "user-1",
    policy,
    actor: "ben",
    reason: "six are enough",
  });
  calls.close();
}

/** At least `orderCount` orders, 9 of which the group needs. */
export async function tellStory(address: string, orderCount = 40): Promise<void> {
  const client = connect({ address });
  try {
    await client.ready(10_000);
    await users(client);
    await oddEvents(client);
    for (let number = 1; number <= orderCount; number += 1) await placeOrder(client, number);
    await client.checkpoints.save("search-index", 40);
    await client.checkpoints.save("monthly-report", 12);
    await parkSome(client);
    await endSome(address);
  } finally {
    client.close();
  }
}
