// The routes of docs/http.md that are no methods of the contract, as OpenAPI has them.

const text = { type: "string" };
const position = { type: "integer", format: "uint64", minimum: 0 };
const texts = { type: "array", items: text };

function parameter(name, schema, description) {
  return { name, in: "query", required: false, schema, description };
}

const selection = [
  parameter("stream", text, "Events of this stream."),
  parameter("type", texts, "Events of one of these types."),
  parameter("tag", texts, "Events with all of these tags."),
  parameter("prefix", texts, "Events in streams with one of these prefixes."),
  parameter("query", text, "A query of the contract, as JSON. Excludes the others."),
];
const after = parameter("after", position, "Begin after this position.");
const epoch = parameter(
  "epoch",
  { type: "string", pattern: "^[0-9a-f]{16}$" },
  "The epoch of `after`.",
);

const cloudEvent = {
  description: "A CloudEvent 1.0 in the structured mode. Further members are extensions.",
  type: "object",
  required: ["specversion", "id", "source", "type"],
  properties: {
    specversion: { const: "1.0" },
    id: { type: "string", minLength: 1 },
    source: { type: "string", minLength: 1, format: "uri-reference" },
    type: { type: "string", minLength: 1 },
    datacontenttype: text,
    dataschema: { type: "string", format: "uri" },
    subject: text,
    time: { type: "string", format: "date-time" },
    data: {},
    data_base64: { type: "string", contentEncoding: "base64" },
  },
};

const error = {
  type: "object",
  required: ["code", "message"],
  properties: {
    code: { ...text, description: "The code of gRPC in lower case, such as `aborted`." },
    message: { ...text, description: "For developers, in English." },
    details: {
      type: "array",
      items: {
        type: "object",
        required: ["type", "value"],
        properties: {
          type: { ...text, description: "The full name of a message." },
          value: { ...text, description: "The message in protobuf and base64, without padding." },
          debug: { description: "The message as JSON." },
        },
      },
    },
  },
};

export function routes({ recorded, appended, errors }) {
  const one = { schema: { $ref: "#/components/schemas/CloudEvent" } };
  const batch = { schema: { type: "array", items: { $ref: "#/components/schemas/CloudEvent" } } };
  const structured = "application/cloudevents+json";
  const batched = "application/cloudevents-batch+json";
  const answered = (description, content) => ({
    responses: { 200: { description, content }, default: errors },
  });
  const subscribe = {
    operationId: "subscribe",
    tags: ["EventStoreService"],
    summary: "Subscribes to events as Server-Sent Events.",
    description:
      "The data of each unnamed frame are a recorded event, its id is position and epoch.",
    parameters: [
      ...selection,
      after,
      epoch,
      parameter("from", { enum: ["start", "end"] }, "Where to begin."),
      parameter("from_time", { type: "string", format: "date-time" }, "Begin at this time."),
      parameter("view", { enum: ["json", "full", "headers"] }, "How payloads are told."),
      parameter("format", { enum: ["annals", "cloudevents"] }, "How events are told."),
      parameter("checkpoint_seconds", { type: "integer", minimum: 1 }, "The longest silence."),
      { name: "last-event-id", in: "header", schema: text, description: "Go on behind this one." },
    ],
    ...answered("Frames, each with this as its data.", {
      "text/event-stream": { schema: recorded },
    }),
  };
  const append = {
    operationId: "appendCloudEvents",
    tags: ["EventStoreService"],
    summary: "Appends CloudEvents, all or none.",
    parameters: [
      parameter("stream", text, "The stream of events that name none."),
      parameter("expected_version", position, "The version that the stream must have."),
      epoch,
    ],
    requestBody: { required: true, content: { [structured]: one, [batched]: batch } },
    ...answered("The events are durable.", { "application/json": { schema: appended } }),
  };
  const read = {
    operationId: "readCloudEvents",
    tags: ["EventStoreService"],
    summary: "Reads events as CloudEvents.",
    parameters: [...selection, after, epoch, parameter("limit", position, "At most so many.")],
    ...answered("The events, the oldest first.", { [batched]: batch }),
  };
  const readOne = {
    operationId: "readCloudEvent",
    tags: ["EventStoreService"],
    summary: "Reads the event at a position as a CloudEvent.",
    parameters: [
      { name: "position", in: "path", required: true, schema: { ...position, minimum: 1 } },
      epoch,
    ],
    ...answered("The event, in the structured mode if `accept` has it, or in the binary mode.", {
      [structured]: one,
      "*/*": { schema: {} },
    }),
  };
  return {
    paths: {
      "/v1/subscribe": { get: subscribe },
      "/v1/events": { get: read, post: append },
      "/v1/events/{position}": { get: readOne },
    },
    schemas: { CloudEvent: cloudEvent, Error: error },
    parameters: {
      "connect-timeout-ms": {
        name: "connect-timeout-ms",
        in: "header",
        description: "Milliseconds until the call's deadline.",
        schema: { type: "integer", minimum: 0, maximum: 9_999_999_999 },
      },
    },
  };
}
