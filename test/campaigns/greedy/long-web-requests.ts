// As long-requests.ts, by Connect in JSON: as large as its limits allow.

export interface LongRequest {
  readonly path: string;
  readonly bytes: Uint8Array;
  /** Absent: gRPC's. */
  readonly contentType?: string;
  /** It does not end by itself. */
  readonly endsAfterMs?: number;
}

const store = "/annals.v1.EventStoreService/";
const eventsMax = 5_000;
/** Of a body. */
const bodyBytes = 16_700_000;
const payloadBytes = 2_900_000;

function json(method: string, body: unknown): LongRequest {
  const text = typeof body === "string" ? body : JSON.stringify(body);
  const bytes = Buffer.from(text);
  return { path: `${store}${method}`, bytes, contentType: "application/json" };
}

function times<T>(count: number, make: (i: number) => T): T[] {
  return Array.from({ length: count }, (_, i) => make(i));
}

function append(stream: string, events: unknown): LongRequest {
  return json("Append", { stream, events });
}

const values = (count: number) => times(count, (i) => ({ [`member-${i % 100}`]: i }));
const data = Buffer.alloc(payloadBytes, 7).toString("base64");

export function longWebRequests(): [string, LongRequest][] {
  const all: Record<string, LongRequest> = {
    "Append of 5,000 small events": append(
      "web-many",
      times(eventsMax, () => ({ type: "T" })),
    ),
    "Append of 5,000 events with JSON": append(
      "web-json",
      times(eventsMax, (i) => ({ type: "T", tags: [`t:${i}`], json: { a: i, b: ["x", "y"] } })),
    ),
    "Append of a JSON payload of 9,900 values": append("web-values", [
      { type: "T", json: values(3_300) },
    ]),
    "Append of 250,000 values": append(
      "web-too-many",
      times(1_000, () => ({ type: "T", json: values(80) })),
    ),
    "Append of a payload of 2.9 MB": append("web-large", [{ type: "T", data }]),
    "Append of one text of 2.9 MB": append("web-text", [
      { type: "T", json: "\u00e9".repeat(payloadBytes / 2) },
    ]),
    "Append of a text with a million escapes": append("web-escapes", [
      { type: "T", json: "\n".repeat(500_000) },
    ]),
    "Append of a type of 16 MB of escapes": json(
      "Append",
      `{"events":[{"type":"${"\\n".repeat(bodyBytes / 2)}"}]}`,
    ),
    "Append of thousands of exponents": json(
      "Append",
      `{"stream":"web-powers","events":[{"type":"T","json":[${"1e308,".repeat(9_900)}1]}]}`,
    ),
    "Append of 2.9 MB in 9,900 texts": append("web-texts", [
      { type: "T", json: times(9_900, (i) => `${i}`.padEnd(280, "x")) },
    ]),
    "Append of 16 MB of brackets": json("Append", "[".repeat(bodyBytes)),
    "Append of 16 MB of spaces": json("Append", `{${" ".repeat(bodyBytes)}}`),
    "Append of 16 MB of commas": json("Append", `{"events":[${"0,".repeat(bodyBytes / 2)}0]}`),
    "SaveSnapshot of 2.9 MB": json("SaveSnapshot", {
      stream: "web-many",
      kind: "k",
      version: "1",
      data,
    }),
    "GetSnapshot of 2.9 MB": json("GetSnapshot", { stream: "web-many", kind: "k" }),
    "GetState of a text of 2.9 MB": json("GetState", { stream: "web-text" }),
    "ListStreams of a page of 1,000": json("ListStreams", { pageSize: 1_000 }),
    "Read of 5,000 events": {
      path: `${store}Read`,
      bytes: Buffer.from('{"stream":"web-json"}'),
      contentType: "application/connect+json",
    },
    "Read of a payload of 2.9 MB": {
      path: `${store}Read`,
      bytes: Buffer.from('{"stream":"web-large"}'),
      contentType: "application/connect+json",
    },
  };
  return Object.entries(all).map(([name, one]) => [`Connect: ${name}`, one]);
}
