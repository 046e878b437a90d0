// Server reflection, v1 and v1alpha: what lets a person talk to the server without having its
// protos. Both versions have the same messages, and one implementation, over the generated
// descriptors.

import { create } from "@bufbuild/protobuf";
import { status as Code } from "@grpc/grpc-js";
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
import type { Handlers } from "../transport/bind.ts";
import type { Symbols } from "./reflection-symbols.ts";

type Question = (ServerReflectionRequest | RequestV1Alpha)["messageRequest"];
type Reply = Exclude<ServerReflectionResponse["messageResponse"], { case: undefined }>;
/** What a reply is made of; `create` makes the messages inside it. */
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
      return files(symbols.fileNamed(question.value), `file ${JSON.stringify(question.value)}`);
    case "fileContainingSymbol":
      return files(symbols.fileWith(question.value), `symbol ${JSON.stringify(question.value)}`);
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
      return { case: "errorResponse", value: { errorCode: Code.INVALID_ARGUMENT, errorMessage } };
    }
  }
}

function files(fileDescriptorProto: Uint8Array[] | undefined, what: string): ReplyInit {
  if (fileDescriptorProto === undefined) return notFound(what);
  return { case: "fileDescriptorResponse", value: { fileDescriptorProto } };
}

function notFound(what: string): ReplyInit {
  const errorMessage = `there is no ${what}`;
  return { case: "errorResponse", value: { errorCode: Code.NOT_FOUND, errorMessage } };
}
