// Valid requests to begin mutating from: every method of every service that is bound, with every
// field set. Appends carry an expectation that does not hold, so that few of their mutants are
// stored.
import { create, toBinary, type DescMessage } from "@bufbuild/protobuf";
import { reflect } from "@bufbuild/protobuf/reflect";
import { EventStoreService } from "../../../src/gen/annals/v1/event_store_service_pb.js";
import { AppendRequestSchema } from "../../../src/gen/annals/v1/append_pb.js";
import { CheckpointService } from "../../../src/gen/annals/v1/checkpoint_service_pb.js";
import { Health } from "../../../src/gen/grpc/health/v1/health_pb.js";
import { ServerReflection } from "../../../src/gen/grpc/reflection/v1/reflection_pb.js";

export interface SeedRequest {
  readonly path: string;
  readonly bytes: Buffer;
  /** Ends by itself only when it is refused. */
  readonly endless: boolean;
}

const variants = 6;
const endless = new Set(["Subscribe", "Watch", "WaitFor"]);

export function seedRequests(random: () => number): SeedRequest[] {
  const seeds: SeedRequest[] = [];
  for (const service of [EventStoreService, CheckpointService, Health, ServerReflection]) {
    for (const method of service.methods) {
      if (method.name === "DeleteSnapshots") continue;
      for (let i = 0; i < variants; i++) {
        seeds.push({
          path: `/${service.typeName}/${method.name}`,
          bytes:
            method.input === AppendRequestSchema
              ? appendRequest(random)
              : Buffer.from(filled(method.input, random, 0)),
          endless: endless.has(method.name),
        });
      }
    }
  }
  return seeds;
}

export function appendRequest(random: () => number): Buffer {
  const events = Array.from({ length: 1 + Math.floor(random() * 3) }, (_, i) => ({
    id: crypto.randomUUID(),
    stream: `mutant-${i}`,
    type: "Mutated",
    tags: ["a:1", "b:2"],
    metadata: { user: "nobody", reason: "none" },
    contentType: "application/json",
    payload:
      random() < 0.5
        ? { case: "data" as const, value: Buffer.from('{"a":[1,2,{"b":null}]}') }
        : {
            case: "json" as const,
            value: { kind: { case: "stringValue" as const, value: "x" } },
          },
  }));
  const request = create(AppendRequestSchema, {
    stream: "mutant",
    events,
    expectations: [{ stream: "mutant-0", expected: { case: "expectedVersion", value: 4_711n } }],
    conditions: [{ query: { items: [{ tags: ["a:1"], types: ["Mutated"] }] }, after: 0n }],
  });
  return Buffer.from(toBinary(AppendRequestSchema, request));
}

/** A message with something in every field, of oneofs in the last one. */
function filled(schema: DescMessage, random: () => number, depth: number): Uint8Array {
  const message = reflect(schema, create(schema));
  for (const field of schema.fields) {
    if (depth > 3 || random() < 0.15) continue;
    const scalar = (): unknown => {
      if (field.scalar === undefined) return undefined;
      return scalarOf(field.scalar, random);
    };
    if (field.fieldKind === "scalar") message.set(field, scalar());
    else if (field.fieldKind === "enum") message.set(field, Math.floor(random() * 4));
  }
  const parts = [Buffer.from(toBinary(schema, message.message))];
  for (const field of schema.fields) {
    const inner =
      field.fieldKind === "message" || (field.fieldKind === "list" && field.listKind === "message")
        ? field.message
        : undefined;
    if (inner === undefined || depth > 3 || random() < 0.3) continue;
    const bytes = Buffer.from(filled(inner, random, depth + 1));
    if (bytes.length < 128) parts.push(Buffer.from([(field.number << 3) | 2, bytes.length]), bytes);
  }
  return Buffer.concat(parts);
}

/** By protobuf's number of a type. */
function scalarOf(type: number, random: () => number): unknown {
  const number = Math.floor(random() * 20);
  switch (type) {
    case 9:
      return ["mutant-0", "a", "ключ", "$system"][number % 4];
    case 12:
      return Buffer.from("bytes");
    case 8:
      return number % 2 === 0;
    case 3:
    case 4:
    case 6:
    case 16:
    case 18:
      return BigInt(number);
    default:
      return number;
  }
}
