// Server reflection, v1 and v1alpha, so that tools can call the server without its proto files.
// Both versions have the same messages and one implementation over the generated descriptors. It
// knows which file declares which name, for the files of the services, their dependencies, and the
// messages that may be packed in an `Any`.

import {
  create,
  toBinary,
  type DescEnum,
  type DescFile,
  type DescMessage,
  type DescService,
} from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import {
  ServerReflectionResponseSchema as ResponseV1,
  type ServerReflection as ServiceV1,
  type ServerReflectionRequest,
  type ServerReflectionResponse,
} from "../../gen/grpc/reflection/v1/reflection_pb.js";
import {
  ServerReflectionResponseSchema as ResponseV1Alpha,
  type ServerReflection as ServiceV1Alpha,
  type ServerReflectionRequest as RequestV1Alpha,
} from "../../gen/grpc/reflection/v1alpha/reflection_pb.js";
import type { Handlers } from "../transport/methods.ts";
import { StatusCode } from "../transport/status.ts";

type Question = (ServerReflectionRequest | RequestV1Alpha)["messageRequest"];
type Reply = Exclude<ServerReflectionResponse["messageResponse"], { case: undefined }>;
/** The content of a reply. `create` makes the messages in it. */
type ReplyInit = { case: Reply["case"]; value: object };

export function reflectionV1(symbols: Symbols): Handlers<typeof ServiceV1> {
  return {
    async *serverReflectionInfo(requests) {
      for await (const request of requests) {
        const messageResponse = replyTo(symbols, request.messageRequest) as Reply;
        const { host: validHost } = request;
        yield create(ResponseV1, { validHost, originalRequest: request, messageResponse });
      }
    },
  };
}

export function reflectionV1Alpha(symbols: Symbols): Handlers<typeof ServiceV1Alpha> {
  return {
    async *serverReflectionInfo(requests) {
      for await (const request of requests) {
        const messageResponse = replyTo(symbols, request.messageRequest) as never;
        const { host: validHost } = request;
        yield create(ResponseV1Alpha, { validHost, originalRequest: request, messageResponse });
      }
    },
  };
}

function replyTo(symbols: Symbols, question: Question): ReplyInit {
  switch (question.case) {
    case "listServices": {
      const service = symbols.services.map((name) => ({ name }));
      return { case: "listServicesResponse", value: { service } };
    }
    case "fileByFilename":
      return filesReply(
        symbols.fileNamed(question.value),
        `file ${JSON.stringify(question.value)}`,
      );
    case "fileContainingSymbol":
      return filesReply(
        symbols.fileWith(question.value),
        `symbol ${JSON.stringify(question.value)}`,
      );
    case "fileContainingExtension":
      return notFound(`extension of ${JSON.stringify(question.value.containingType)}`);
    case "allExtensionNumbersOfType": {
      const baseTypeName = question.value;
      if (!symbols.isMessage(baseTypeName)) return notFound(`type ${JSON.stringify(baseTypeName)}`);
      const value = { baseTypeName, extensionNumber: [] };
      return { case: "allExtensionNumbersResponse", value };
    }
    case undefined: {
      const errorMessage = "message_request: is required";
      return {
        case: "errorResponse",
        value: { errorCode: StatusCode.INVALID_ARGUMENT, errorMessage },
      };
    }
  }
}

function filesReply(fileDescriptorProto: Uint8Array[] | undefined, what: string): ReplyInit {
  if (fileDescriptorProto === undefined) return notFound(what);
  return { case: "fileDescriptorResponse", value: { fileDescriptorProto } };
}

function notFound(what: string): ReplyInit {
  const errorMessage = `there is no ${what}`;
  return { case: "errorResponse", value: { errorCode: StatusCode.NOT_FOUND, errorMessage } };
}

interface Symbols {
  /** The full names of the services. */
  readonly services: readonly string[];
  /** The encoded descriptor of a file, followed by those of all its dependencies. */
  fileNamed(name: string): Uint8Array[] | undefined;
  /** The same for the file that declares a service, method, message, field, enum or enum value. */
  fileWith(symbol: string): Uint8Array[] | undefined;
  isMessage(typeName: string): boolean;
}

/** `extra` are files that no service depends on, such as those of error details. */
export function collectSymbols(
  services: readonly DescService[],
  extra: readonly DescFile[],
): Symbols {
  const files = new Map<string, DescFile>();
  const add = (file: DescFile): void => {
    const path = file.proto.name;
    if (files.has(path)) return;
    files.set(path, file);
    file.dependencies.forEach(add);
  };
  for (const service of services) add(service.file);
  extra.forEach(add);

  const declared = new Map<string, DescFile>();
  const messages = new Set<string>();
  for (const file of files.values()) {
    for (const name of namesIn(file)) declared.set(name, file);
    for (const message of file.messages) for (const name of messagesIn(message)) messages.add(name);
  }
  return {
    services: services.map((service) => service.typeName).toSorted(),
    fileNamed: (name) => encodeWithDependencies(files.get(name)),
    fileWith: (symbol) => encodeWithDependencies(declared.get(symbol.replace(/^\./, ""))),
    isMessage: (typeName) => messages.has(typeName),
  };
}

/** The file first, and each file before its dependencies. */
function encodeWithDependencies(file: DescFile | undefined): Uint8Array[] | undefined {
  if (file === undefined) return undefined;
  const needed = new Set<DescFile>();
  const need = (one: DescFile): void => {
    if (needed.has(one)) return;
    one.dependencies.forEach(need);
    needed.add(one);
  };
  need(file);
  return [...needed].toReversed().map((one) => toBinary(FileDescriptorProtoSchema, one.proto));
}

function* namesIn(file: DescFile): Generator<string> {
  for (const service of file.services) {
    yield service.typeName;
    for (const method of service.methods) yield `${service.typeName}.${method.name}`;
  }
  for (const message of file.messages) yield* namesInMessage(message);
  for (const one of file.enums) yield* namesInEnum(one);
}

function* namesInMessage(message: DescMessage): Generator<string> {
  yield message.typeName;
  for (const field of message.fields) yield `${message.typeName}.${field.name}`;
  for (const oneof of message.oneofs) yield `${message.typeName}.${oneof.name}`;
  for (const nested of message.nestedMessages) yield* namesInMessage(nested);
  for (const nested of message.nestedEnums) yield* namesInEnum(nested);
  for (const { name, options } of message.proto.nestedType) {
    if (options?.mapEntry === true) yield `${message.typeName}.${name}`;
  }
}

/** The values of an enum are declared beside it, not in it. */
function* namesInEnum(one: DescEnum): Generator<string> {
  yield one.typeName;
  const scope = one.typeName.slice(0, -one.name.length);
  for (const value of one.values) yield `${scope}${value.name}`;
}

function* messagesIn(message: DescMessage): Generator<string> {
  yield message.typeName;
  for (const nested of message.nestedMessages) yield* messagesIn(nested);
}
