// The retry advice that ships with the contract: it speaks of methods that are there, retries
// what is safe to retry and nothing else, and grpc-js does what it says. The generated clients
// use it too.

import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { create, toBinary, type DescMethod, type DescService } from "@bufbuild/protobuf";
import { MethodOptions_IdempotencyLevel } from "@bufbuild/protobuf/wkt";
import { credentials, Client, status, type Metadata, type sendUnaryData } from "@grpc/grpc-js";
import { afterEach, beforeAll, describe, expect, test } from "vitest";
import { errorInfo, failureWith, scripted, type Scripted } from "../client/rpc/scripted-server.ts";
import { AppendRequestSchema, AppendResponseSchema } from "../../src/gen/annals/v1/append_pb.js";
import { repository } from "./live-server.ts";

interface MethodConfig {
  readonly name: readonly { readonly service: string; readonly method?: string }[];
  readonly retryPolicy?: {
    readonly maxAttempts: number;
    readonly retryableStatusCodes: readonly string[];
  };
}

const path = join(repository, "proto/annals/v1/annals_grpc_service_config.json");
const text = readFileSync(path, "utf8");
const config = JSON.parse(text) as { methodConfig: MethodConfig[] };
const services: DescService[] = [];

beforeAll(async () => {
  for (const file of globSync(join(repository, "src/gen/annals/v1/*_service_pb.js"))) {
    const exported = Object.values((await import(file)) as Record<string, unknown>);
    services.push(...exported.filter(isService));
  }
});

function isService(value: unknown): value is DescService {
  return typeof value === "object" && value !== null && "kind" in value && value.kind === "service";
}

/** As gRPC looks it up: the method's own entry before its service's. */
function codesFor({ parent, name }: DescMethod): readonly string[] {
  const of = (wanted: string | undefined): MethodConfig | undefined =>
    config.methodConfig.find((entry) =>
      entry.name.some(({ service, method }) => service === parent.typeName && method === wanted),
    );
  return (of(name) ?? of(undefined))?.retryPolicy?.retryableStatusCodes ?? [];
}

describe("the service config", () => {
  test("names only services and methods of the contract", () => {
    const known = services.flatMap(({ typeName, methods }) => [
      { service: typeName },
      ...methods.map(({ name }) => ({ service: typeName, method: name })),
    ]);
    for (const name of config.methodConfig.flatMap((entry) => entry.name)) {
      expect(known).toContainEqual(name);
    }
  });

  test("has UNAVAILABLE retried exactly where a call may be sent again", () => {
    expect(services.length).toBeGreaterThan(0);
    for (const method of services.flatMap((service) => service.methods)) {
      // An append may be, because its events have ids; the contract cannot know that they do.
      const isAppend = method.name === "Append";
      const isIdempotent =
        method.idempotency !== MethodOptions_IdempotencyLevel.IDEMPOTENCY_UNKNOWN;
      const codes = codesFor(method);
      expect(codes.includes("UNAVAILABLE"), method.toString()).toBe(isAppend || isIdempotent);
      if (method.methodKind === "bidi_streaming") expect(codes, method.toString()).toEqual([]);
    }
  });

  test("never retries what a retry does not change, nor what may have run out of time", () => {
    const retried = new Set(
      services.flatMap((service) => service.methods).flatMap((method) => [...codesFor(method)]),
    );
    expect([...retried].toSorted()).toEqual(["RESOURCE_EXHAUSTED", "UNAVAILABLE"]);
  });
});

describe("grpc-js with the service config", () => {
  let server: Scripted | undefined;
  let client: Client | undefined;
  afterEach(() => {
    client?.close();
    server?.stop();
  });

  /**
   * The outcome of one append to a server that fails with these codes first, and the calls it
   * got.
   */
  async function append(
    failures: number[],
    heard: (metadata: Metadata) => void = () => {},
  ): Promise<{ outcome: number; calls: number }> {
    let calls = 0;
    server = await scripted({
      append({ metadata }: { metadata: Metadata }, answer: sendUnaryData<unknown>) {
        heard(metadata);
        const code = failures[calls];
        calls += 1;
        if (code === undefined) answer(null, create(AppendResponseSchema));
        else answer(failureWith(code, "as the test wants it", [errorInfo("STOPPING")]));
      },
    });
    client = new Client(server.connect().address, credentials.createInsecure(), {
      "grpc.service_config": text,
    });
    const own = client;
    const outcome = await new Promise<number>((resolve) => {
      own.makeUnaryRequest(
        "/annals.v1.EventStoreService/Append",
        (request) => Buffer.from(toBinary(AppendRequestSchema, request)),
        (bytes) => bytes,
        create(AppendRequestSchema),
        (error) => resolve(error?.code ?? status.OK),
      );
    });
    return { outcome, calls };
  }

  test("tells the server that it sends a call again", async () => {
    const told: unknown[] = [];
    await append([status.UNAVAILABLE], (metadata) => {
      told.push(metadata.get("grpc-previous-rpc-attempts"));
    });
    expect(told).toEqual([[], ["1"]]);
  });

  test.each(["UNAVAILABLE", "RESOURCE_EXHAUSTED"] as const)(
    "sends an append again after %s",
    async (name) => {
      expect(await append([status[name]])).toEqual({ outcome: status.OK, calls: 2 });
    },
  );

  test.each(["ABORTED", "ALREADY_EXISTS", "FAILED_PRECONDITION", "INTERNAL"] as const)(
    "leaves %s to the caller",
    async (name) => {
      expect(await append([status[name]])).toEqual({ outcome: status[name], calls: 1 });
    },
  );
});
