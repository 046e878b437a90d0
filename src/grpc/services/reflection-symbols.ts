// Which file declares which name: everything the services' files and their dependencies declare,
// and what may come packed in an `Any`.

import {
  toBinary,
  type DescEnum,
  type DescFile,
  type DescMessage,
  type DescService,
} from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";

export interface Symbols {
  /** Full names of the services there are. */
  readonly services: readonly string[];
  /** The encoded descriptor of a file, then those of all it depends on. */
  fileNamed(name: string): Uint8Array[] | undefined;
  /** The same of the file that declares a service, method, message, field, enum or enum value. */
  fileWith(symbol: string): Uint8Array[] | undefined;
  isMessage(typeName: string): boolean;
}

/** `extra`: files that no service depends on, such as those of error details. */
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

/** The file first, and each file before those it depends on. */
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
