// A plugin of buf: writes the contract as OpenAPI 3.1, with its comments, as calls by HTTP and JSON
// speak it (docs/http.md). `buf generate` runs it; the server answers GET /openapi.json with it.
import { readFileSync } from "node:fs";
import { create, createFileRegistry, fromBinary, ScalarType, toBinary } from "@bufbuild/protobuf";
import {
  CodeGeneratorRequestSchema,
  CodeGeneratorResponseSchema,
  FileDescriptorSetSchema,
} from "@bufbuild/protobuf/wkt";
import { routes } from "./openapi-routes.mjs";

const request = fromBinary(CodeGeneratorRequestSchema, readFileSync(0));
const set = create(FileDescriptorSetSchema, { file: request.protoFile });
const registry = createFileRegistry(set);
const { version, license } = JSON.parse(readFileSync("package.json", "utf8"));
const ours = (file) => file.proto.package === "annals.v1";

/** The comment in front of each part of the contract, by its kind and full name. */
const comments = new Map();

function noteFile({ proto }) {
  const said = new Map(
    (proto.sourceCodeInfo?.location ?? []).map(({ path, leadingComments }) => [
      path.join(),
      textOf(leadingComments),
    ]),
  );
  const note = (name, path) => comments.set(`${proto.package}.${name}`, said.get(path) ?? "");
  const noteEnum = (found, name, path) => {
    note(name, path);
    for (const [i, value] of found.value.entries()) note(`${name}.${value.name}`, `${path},2,${i}`);
  };
  const noteMessage = (found, name, path) => {
    note(name, path);
    for (const [i, field] of found.field.entries()) note(`${name}.${field.name}`, `${path},2,${i}`);
    for (const [i, each] of found.nestedType.entries()) {
      noteMessage(each, `${name}.${each.name}`, `${path},3,${i}`);
    }
    for (const [i, each] of found.enumType.entries()) {
      noteEnum(each, `${name}.${each.name}`, `${path},4,${i}`);
    }
  };
  for (const [i, each] of proto.messageType.entries()) noteMessage(each, each.name, `4,${i}`);
  for (const [i, each] of proto.enumType.entries()) noteEnum(each, each.name, `5,${i}`);
  for (const [i, each] of proto.service.entries()) {
    note(each.name, `6,${i}`);
    for (const [k, method] of each.method.entries()) {
      note(`${each.name}.${method.name}`, `6,${i},2,${k}`);
    }
  }
}

/** Lines of a paragraph are one line. */
function textOf(comment = "") {
  const lines = comment.split("\n").map((line) => line.replace(/^ /, "").trimEnd());
  return lines
    .join("\n")
    .trim()
    .replaceAll(/([^\n])\n(?![\n-]| {2})/g, "$1 ");
}

const described = (comment, schema) => (comment ? { description: comment, ...schema } : schema);
const commentOf = (desc) => comments.get(desc.typeName ?? desc.toString()) ?? "";

const schemas = {};
const ref = (name) => ({ $ref: `#/components/schemas/${name}` });

/** JSON of types that have one of their own. */
const known = {
  "google.protobuf.Timestamp": { type: "string", format: "date-time" },
  "google.protobuf.Duration": { type: "string", pattern: "^-?\\d+(\\.\\d{1,9})?s$" },
  "google.protobuf.Empty": { type: "object", additionalProperties: false },
  "google.protobuf.Struct": { type: "object" },
  "google.protobuf.ListValue": { type: "array", items: {} },
  "google.protobuf.Value": {},
  "google.protobuf.Any": {
    type: "object",
    properties: { "@type": { type: "string" } },
    required: ["@type"],
  },
};

function schemaOfMessage(message) {
  const own = known[message.typeName];
  if (own !== undefined) return own;
  if (!(message.typeName in schemas)) {
    schemas[message.typeName] = {};
    const properties = message.fields.map((field) => [field.jsonName, schemaOfField(field)]);
    schemas[message.typeName] = described(commentOf(message), {
      type: "object",
      properties: Object.fromEntries(properties),
      additionalProperties: false,
    });
  }
  return ref(message.typeName);
}

function schemaOfEnum(found) {
  schemas[found.typeName] ??= described(
    [
      commentOf(found),
      ...found.values.map((value) => {
        const comment = comments.get(`${found.typeName}.${value.name}`);
        return `- \`${value.name}\`: ${(comment || "").replaceAll("\n", " ")}`;
      }),
    ].join("\n\n"),
    { type: "string", enum: found.values.map(({ name }) => name) },
  );
  return ref(found.typeName);
}

function schemaOfScalar(scalar) {
  switch (scalar) {
    case ScalarType.STRING:
      return { type: "string" };
    case ScalarType.BYTES:
      return { type: "string", contentEncoding: "base64" };
    case ScalarType.BOOL:
      return { type: "boolean" };
    case ScalarType.DOUBLE:
    case ScalarType.FLOAT:
      return { type: "number" };
    case ScalarType.INT32:
    case ScalarType.UINT32:
      return { type: "integer", format: scalar === ScalarType.INT32 ? "int32" : "uint32" };
    // A string in answers; requests may have either.
    case ScalarType.INT64:
    case ScalarType.UINT64:
      return {
        type: ["string", "integer"],
        format: scalar === ScalarType.INT64 ? "int64" : "uint64",
      };
    default:
      throw new Error(`there is no schema of the scalar ${scalar} yet`);
  }
}

function schemaOfValue({ message, enum: found, scalar }) {
  if (message !== undefined) return schemaOfMessage(message);
  return found === undefined ? schemaOfScalar(scalar) : schemaOfEnum(found);
}

function schemaOfField(field) {
  const { oneof } = field;
  const comment = comments.get(`${field.parent.typeName}.${field.name}`) ?? "";
  const others =
    oneof?.fields.filter((each) => each !== field).map(({ jsonName }) => jsonName) ?? [];
  const excluded =
    others.length === 0 ? "" : `Excludes ${others.map((name) => `\`${name}\``).join(", ")}.`;
  const text = [comment, excluded].filter((part) => part !== "").join("\n\n");
  switch (field.fieldKind) {
    case "list":
      return described(text, { type: "array", items: schemaOfValue(field) });
    case "map":
      return described(text, { type: "object", additionalProperties: schemaOfValue(field) });
    default:
      return described(text, schemaOfValue(field));
  }
}

const errors = { description: "The call failed: see docs/http.md.", content: jsonOf(ref("Error")) };

function jsonOf(schema, type = "application/json") {
  return { [type]: { schema } };
}

function operationOf(service, method) {
  const isStream = method.methodKind === "server_streaming";
  const type = isStream ? "application/connect+json" : "application/json";
  const comment = comments.get(`${service.typeName}.${method.name}`) ?? "";
  const [summary = ""] = comment.split(/(?<=\.)\s/, 1);
  const note =
    "A stream of answers: request and answers are messages of JSON in the envelopes of Connect " +
    "(https://connectrpc.com/docs/protocol#streaming-rpcs).";
  return {
    operationId: `${service.name}_${method.name}`,
    tags: [service.name],
    summary,
    description: isStream ? `${comment}\n\n${note}` : comment,
    parameters: [{ $ref: "#/components/parameters/connect-timeout-ms" }],
    requestBody: { required: true, content: jsonOf(schemaOfMessage(method.input), type) },
    responses: {
      200: {
        description: isStream ? "A stream of these." : "The answer.",
        content: jsonOf(schemaOfMessage(method.output), type),
      },
      default: errors,
    },
  };
}

const files = [...registry.files].filter(ours);
for (const file of files) noteFile(file);
const services = files
  .flatMap((file) => [...file.services])
  .toSorted((a, b) => (a.name < b.name ? -1 : 1));
const paths = {};
for (const service of services) {
  for (const method of service.methods) {
    // Streams of requests need gRPC.
    if (method.methodKind === "bidi_streaming" || method.methodKind === "client_streaming")
      continue;
    paths[`/${service.typeName}/${method.name}`] = { post: operationOf(service, method) };
  }
}
const recorded = schemaOfMessage(registry.getMessage("annals.v1.RecordedEvent"));
const own = routes({ recorded, appended: ref("annals.v1.AppendResponse"), errors });
const document = {
  openapi: "3.1.0",
  info: {
    title: "Annals",
    version,
    license: { name: license, identifier: license },
    description:
      "An event store. Calls by HTTP and JSON: the protocol is Connect, the errors are typed.",
  },
  servers: [{ url: "/" }],
  security: [{}, { token: [] }],
  tags: services.map(({ name, typeName }) => ({ name, description: comments.get(typeName) ?? "" })),
  paths: { ...paths, ...own.paths },
  components: {
    schemas: {
      ...Object.fromEntries(Object.entries(schemas).toSorted(([a], [b]) => (a < b ? -1 : 1))),
      ...own.schemas,
    },
    parameters: own.parameters,
    securitySchemes: {
      token: { type: "http", scheme: "bearer", description: "A token of the store, or of OIDC." },
    },
  },
};
const text = JSON.stringify(document);
const prefix = "ERROR_REASON_";
const reasons = registry.getEnum("annals.v1.ErrorReason").values.slice(1);
const meanings = reasons.map(({ name }) => [
  name.slice(prefix.length),
  comments.get(`annals.v1.ErrorReason.${name}`),
]);
const response = create(CodeGeneratorResponseSchema, {
  supportedFeatures: 1n,
  file: [
    {
      name: "openapi.js",
      content:
        `// Generated from the contract by scripts/protoc-gen-openapi.mjs.\nexport const openApi = ${JSON.stringify(text)};\n` +
        `export const reasons = ${JSON.stringify(Object.fromEntries(meanings))};\n`,
    },
    {
      name: "openapi.d.ts",
      content:
        "// Generated by scripts/protoc-gen-openapi.mjs.\n" +
        "/** A document of OpenAPI 3.1. */\nexport const openApi: string;\n" +
        "/** What each reason of an error means, by its name without `ERROR_REASON_`. */\n" +
        "export const reasons: Readonly<Record<string, string>>;\n",
    },
  ],
});
process.stdout.write(toBinary(CodeGeneratorResponseSchema, response));
