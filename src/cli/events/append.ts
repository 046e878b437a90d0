// `annals append`: appends one event, whose payload comes from the command line, standard input or
// a file.

import type { MessageInitShape } from "@bufbuild/protobuf";
import {
  StreamState,
  type AppendRequestSchema,
  type AppendResponse,
} from "../../gen/annals/v1/append_pb.js";
import { defaultLimits } from "../../domain/limits.ts";
import { printAnswer } from "../connection/answer.ts";
import { byteCount } from "../output/display.ts";
import {
  CommandError,
  connectionOptions,
  jsonOption,
  pairs,
  parse,
  UsageError,
  wholeNumber,
} from "../arguments/options.ts";
import { withSession } from "../connection/session.ts";
import { inputOf, type Terminal } from "../output/terminal.ts";
import { isoTime } from "../arguments/time.ts";

const options = {
  ...connectionOptions,
  ...jsonOption,
  id: { type: "string" },
  tag: { type: "string", multiple: true },
  meta: { type: "string", multiple: true },
  "content-type": { type: "string" },
  "data-file": { type: "string" },
  "expected-version": { type: "string" },
  expected: { type: "string" },
} as const;

interface Values {
  readonly "content-type"?: string | undefined;
  readonly "data-file"?: string | undefined;
}

/** The options for an expectation about a stream. */
export interface ExpectationValues {
  readonly "expected-version"?: string | undefined;
  readonly expected?: string | undefined;
}

/** Appends one event and prints its position and version. */
export async function append(args: readonly string[], terminal: Terminal): Promise<number> {
  const { values, positionals } = parse(args, options, { min: 2, max: 3 });
  const [stream = "", type = "", json] = positionals;
  const expected = expectedOf(values);
  const metadata = pairs(values.meta ?? [], "--meta");
  const { contentType, payload } = await payloadOf(values, json, terminal);
  const event = {
    id: values.id ?? "",
    type,
    tags: values.tag ?? [],
    metadata,
    contentType,
    payload,
  };
  const answer = await withSession(values, terminal, ({ store, once }) =>
    store.append({ stream, events: [event], expected }, once),
  );
  const id = answer.eventIds[0] ?? values.id?.toLowerCase() ?? "";
  await printAnswer(terminal, values, jsonOf(answer, id), sentence(answer, id));
  return 0;
}

type AppendInit = Exclude<MessageInitShape<typeof AppendRequestSchema>, { $typeName: string }>;

export function expectedOf(values: ExpectationValues): NonNullable<AppendInit["expected"]> {
  const version = values["expected-version"];
  const { expected } = values;
  if (version !== undefined && expected !== undefined) {
    throw new UsageError("--expected and --expected-version exclude each other");
  }
  if (version !== undefined) {
    return { case: "expectedVersion", value: BigInt(wholeNumber(version, "--expected-version")) };
  }
  switch (expected) {
    case undefined:
      return { case: undefined };
    case "exists":
      return { case: "expectedState", value: StreamState.EXISTS };
    case "absent":
      return { case: "expectedState", value: StreamState.ABSENT };
    default:
      throw new UsageError(`--expected: "${expected}" is neither exists nor absent`);
  }
}

/** JSON is sent as the bytes that were given, so that no number is rounded on the way. */
async function payloadOf(values: Values, json: string | undefined, terminal: Terminal) {
  const file = values["data-file"];
  const contentType = values["content-type"];
  if (file !== undefined) {
    if (json !== undefined)
      throw new UsageError("--data-file and a JSON argument exclude each other");
    return payloadWith(
      contentType ?? "application/octet-stream",
      await contentOf(inputOf(file, terminal), "--data-file"),
    );
  }
  if (json === undefined) return { contentType: contentType ?? "", payload: { case: undefined } };
  const source = json === "-" ? "standard input" : "the JSON argument";
  const bytes = json === "-" ? await contentOf(inputOf("-", terminal), source) : Buffer.from(json);
  return payloadWith(contentType ?? "application/json", checkedJson(bytes, source));
}

function payloadWith(contentType: string, value: Uint8Array) {
  return { contentType, payload: { case: "data", value } as const };
}

async function contentOf(input: AsyncIterable<Buffer>, source: string): Promise<Uint8Array> {
  const bytesMax = defaultLimits.eventBytesMax;
  const parts: Buffer[] = [];
  let bytes = 0;
  try {
    for await (const part of input) {
      parts.push(part);
      bytes += part.length;
      if (bytes > bytesMax) break;
    }
  } catch (error) {
    throw new CommandError(`${source}: ${(error as Error).message}`, { cause: error });
  }
  if (bytes > bytesMax) throw new CommandError(`${source}: more than ${byteCount(bytesMax)}`);
  return Buffer.concat(parts);
}

function checkedJson(bytes: Uint8Array, source: string): Uint8Array {
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(bytes).trim();
    JSON.parse(text);
    return Buffer.from(text);
  } catch (error) {
    throw new UsageError(`${source} is not JSON: ${(error as Error).message}`, { cause: error });
  }
}

function sentence(answer: AppendResponse, id: string): string {
  const places = answer.streams.map(({ stream, lastVersion }) => `${stream}@${lastVersion}`);
  const what = answer.deduplicated ? "already there" : "appended";
  return `${what}: ${places.join(", ")} at position ${answer.lastPosition}, id ${id}`;
}

function jsonOf(answer: AppendResponse, id: string): object {
  const [place] = answer.streams;
  return {
    position: Number(answer.lastPosition),
    version: Number(place?.lastVersion ?? 0),
    recordedAt: isoTime(answer.recordedAt),
    id,
    stream: place?.stream ?? "",
    head: Number(answer.head),
    deduplicated: answer.deduplicated,
  };
}
