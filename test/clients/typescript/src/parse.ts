// Parses answers as parsed-alike.test.ts asks: prints events in a form that all languages share. By
// ts-proto's code, or by protobufjs, which reads the contract itself.

import protobuf from "protobufjs";
import { ReadResponse } from "./gen/annals/v1/read.js";

type Fields = Record<string, any>;

const text = (value: string = ""): string => Buffer.from(value).toString("hex");
const sorted = (parts: string[]): string => parts.sort().join(",");

function double(value: number): string {
  const bytes = Buffer.alloc(8);
  bytes.writeDoubleBE(value);
  return bytes.toString("hex");
}

/** A `Value` of protobufjs; ts-proto turns it into JSON by itself. */
function valueOf(value: Fields): string {
  if ("nullValue" in value) return "z";
  if ("numberValue" in value) return `n${double(value["numberValue"])}`;
  if ("stringValue" in value) return `s${text(value["stringValue"])}`;
  if ("boolValue" in value) return value["boolValue"] ? "b1" : "b0";
  if ("listValue" in value) return `[${(value["listValue"].values ?? []).map(valueOf).join(",")}]`;
  if (!("structValue" in value)) return "-";
  const fields = Object.entries<Fields>(value["structValue"].fields ?? {});
  return `{${sorted(fields.map(([key, each]) => `${text(key)}:${valueOf(each)}`))}}`;
}

function jsonOf(value: unknown): string {
  if (value === null) return "z";
  if (typeof value === "number") return `n${double(value)}`;
  if (typeof value === "string") return `s${text(value)}`;
  if (typeof value === "boolean") return value ? "b1" : "b0";
  if (Array.isArray(value)) return `[${value.map(jsonOf).join(",")}]`;
  const fields = Object.entries(value as Fields);
  return `{${sorted(fields.map(([key, each]) => `${text(key)}:${jsonOf(each)}`))}}`;
}

function eventOf(event: Fields, json: string, at: string): string {
  const metadata = Object.entries<string>(event["metadata"] ?? {});
  return [
    text(event["id"]),
    text(event["stream"]),
    text(event["type"]),
    (event["tags"] ?? []).map(text).join(","),
    sorted(metadata.map(([key, value]) => `${text(key)}=${text(value)}`)),
    text(event["contentType"]),
    Buffer.from(event["data"] ?? []).toString("hex"),
    json,
    String(event["version"] ?? 0),
    String(event["position"] ?? 0),
    at,
  ].join("|");
}

function byTsProto(bytes: Uint8Array): string[] {
  const { message } = ReadResponse.decode(bytes);
  if (message?.$case !== "batch") return [];
  return message.value.events.map((event) => {
    // A `Date` has milliseconds only: the test does not compare it.
    return eventOf(event, event.json === undefined ? "" : jsonOf(event.json), "");
  });
}

function byProtobufjs(): (bytes: Uint8Array) => string[] {
  const root = new protobuf.Root();
  root.resolvePath = (_, target) => (target.startsWith("google/") ? target : `proto/${target}`);
  const type = root.loadSync("annals/v1/read.proto").lookupType("annals.v1.ReadResponse");
  return (bytes) => {
    const found: Fields = type.toObject(type.decode(bytes), { longs: String });
    return (found["batch"]?.events ?? []).map((event: Fields) => {
      const { seconds = "0", nanos = 0 } = event["recordedAt"] ?? {};
      return eventOf(
        event,
        event["json"] === undefined ? "" : valueOf(event["json"]),
        `${seconds}.${nanos}`,
      );
    });
  };
}

const parse = process.argv[2] === "protobufjs" ? byProtobufjs() : byTsProto;
const chunks: Buffer[] = [];
for await (const chunk of process.stdin) chunks.push(chunk as Buffer);
const input = Buffer.concat(chunks);
for (let offset = 0; offset < input.length;) {
  const end = offset + 4 + input.readUInt32BE(offset);
  try {
    console.log(parse(input.subarray(offset + 4, end)).join(";"));
  } catch (error) {
    console.log(`refused: ${String(error).replaceAll("\n", " ")}`);
  }
  offset = end;
}
