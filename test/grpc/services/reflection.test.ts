// Server reflection, v1 and v1alpha: enough for a tool without protos to call every method and to
// read every error.
import { create, createFileRegistry, fromBinary } from "@bufbuild/protobuf";
import {
  FileDescriptorProtoSchema,
  FileDescriptorSetSchema,
  type FileDescriptorProto,
} from "@bufbuild/protobuf/wkt";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ConsumerGroupService } from "../../../src/gen/annals/v1/consumer_group_service_pb.js";
import { EventStoreService } from "../../../src/gen/annals/v1/event_store_service_pb.js";
import { Health } from "../../../src/gen/grpc/health/v1/health_pb.js";
import {
  ServerReflection as V1,
  type ServerReflectionRequest,
} from "../../../src/gen/grpc/reflection/v1/reflection_pb.js";
import * as v1Alpha from "../../../src/gen/grpc/reflection/v1alpha/reflection_pb.js";
import { collect } from "../../support/calls.ts";
import { startTestServer, type TestServer } from "../../support/running-server.ts";

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server.stop());

type Question = ServerReflectionRequest["messageRequest"];

/** What one version answers, question by question. */
async function ask(version: typeof V1 | typeof v1Alpha.ServerReflection, ...questions: Question[]) {
  const pipe = server.calls.pipe(
    version.method.serverReflectionInfo as typeof V1.method.serverReflectionInfo,
  );
  for (const messageRequest of questions)
    pipe.send({ host: "h", messageRequest: messageRequest as never });
  pipe.end();
  const answers = await collect({ [Symbol.asyncIterator]: () => pipe.answers });
  expect(answers.map(({ validHost }) => validHost)).toEqual(questions.map(() => "h"));
  expect(answers.map((answer) => answer.originalRequest?.messageRequest.case)).toEqual(
    questions.map((one) => one.case),
  );
  return answers.map(({ messageResponse }) => messageResponse);
}

async function filesWith(symbol: string): Promise<FileDescriptorProto[]> {
  const [answer] = await ask(V1, { case: "fileContainingSymbol", value: symbol });
  if (answer?.case !== "fileDescriptorResponse") throw new Error(`${symbol}: ${answer?.case}`);
  return answer.value.fileDescriptorProto.map((bytes) =>
    fromBinary(FileDescriptorProtoSchema, bytes),
  );
}

describe.each([["v1", V1] as const, ["v1alpha", v1Alpha.ServerReflection] as const])(
  "reflection %s",
  (_, version) => {
    test("lists the services", async () => {
      const [answer] = await ask(version, { case: "listServices", value: "" });
      expect(
        answer?.case === "listServicesResponse" && answer.value.service.map(({ name }) => name),
      ).toEqual(
        expect.arrayContaining([
          "annals.v1.ConsumerGroupService",
          "annals.v1.EventStoreService",
          "grpc.health.v1.Health",
          "grpc.reflection.v1.ServerReflection",
          "grpc.reflection.v1alpha.ServerReflection",
        ]),
      );
    });

    test("answers each question of a call, also those it has no answer to", async () => {
      const extension = { containingType: "annals.v1.Query", extensionNumber: 5 };
      const answers = await ask(
        version,
        { case: "fileByFilename", value: "annals/v1/query.proto" },
        { case: "fileByFilename", value: "nope.proto" },
        { case: "fileContainingSymbol", value: "annals.v1.Nope" },
        { case: "fileContainingExtension", value: extension as never },
        { case: "allExtensionNumbersOfType", value: "annals.v1.Query" },
        { case: "allExtensionNumbersOfType", value: "annals.v1.Nope" },
        { case: undefined },
      );
      expect(answers.map((answer) => answer.case)).toEqual([
        "fileDescriptorResponse",
        "errorResponse",
        "errorResponse",
        "errorResponse",
        "allExtensionNumbersResponse",
        "errorResponse",
        "errorResponse",
      ]);
      expect(answers[1]?.value).toMatchObject({
        errorCode: 5,
        errorMessage: 'there is no file "nope.proto"',
      });
    });
  },
);

describe("what reflection knows", () => {
  test.each([
    "annals.v1.EventStoreService",
    ".annals.v1.EventStoreService",
    "annals.v1.EventStoreService.Append",
    "annals.v1.AppendRequest",
    "annals.v1.AppendRequest.stream",
    "annals.v1.AppendRequest.expected",
    "annals.v1.View",
    "annals.v1.VIEW_JSON",
    "annals.v1.NewEvent.MetadataEntry",
    "annals.v1.AppendConflict",
    "google.rpc.BadRequest.FieldViolation",
    "google.rpc.ErrorInfo",
    "google.rpc.Status",
    "google.protobuf.Value",
    "google.protobuf.Timestamp",
    "grpc.health.v1.HealthCheckResponse.SERVING",
  ])("%s is declared in a file that comes with all it needs", async (symbol) => {
    const files = await filesWith(symbol);
    const names = new Set(files.map(({ name }) => name));
    for (const { dependency } of files) {
      for (const needed of dependency) expect(names).toContain(needed);
    }
  });

  test("is enough to rebuild every method with its messages", async () => {
    for (const service of [EventStoreService, ConsumerGroupService, Health]) {
      const file = (await filesWith(service.typeName)).toReversed();
      const registry = createFileRegistry(create(FileDescriptorSetSchema, { file }));
      const rebuilt = registry.getService(service.typeName);
      expect(
        rebuilt?.methods.map(({ name, methodKind, input }) => [name, methodKind, input.typeName]),
      ).toEqual(
        service.methods.map(({ name, methodKind, input }) => [name, methodKind, input.typeName]),
      );
    }
  });

  test("is nothing where reflection is switched off", async () => {
    const quiet = await startTestServer(["--no-reflection"]);
    const pipe = quiet.calls.pipe(V1.method.serverReflectionInfo);
    pipe.end();
    await expect(collect({ [Symbol.asyncIterator]: () => pipe.answers })).rejects.toMatchObject({
      code: 12,
    });
    await quiet.stop();
  });
});
