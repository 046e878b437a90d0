// An append of a history: it is sent again with the same ids while its outcome is unknown, and
// records everything that participants were told or have seen of it.
import { create, toBinary } from "@bufbuild/protobuf";
import { AppendRequestSchema, type AppendResponse } from "../../../src/gen/annals/v1/append_pb.js";
import { eventBody, type Shape } from "./content.ts";

export interface StreamVersion {
  readonly stream: string;
  readonly version: number;
}

/** No event with the tag may exist after the position. */
export interface TagCondition {
  readonly tag: string;
  readonly after: number;
}

export interface Checks {
  readonly expectations?: readonly StreamVersion[];
  readonly condition?: TagCondition;
}

/** Several participants see an event at about the same time, so its body is made once. */
const recentMax = 4_096;
const recent: { readonly op: Op; readonly index: number; readonly body: Buffer }[] = [];

export class Op {
  readonly seed: number;
  readonly writer: number;
  readonly number: number;
  readonly shape: Shape;
  readonly checks: Checks;
  /** `open`: the outcome is unknown. */
  state: "open" | "acknowledged" | "refused" = "open";
  attempts = 0;
  /** How often it was acknowledged as newly stored. */
  stored = 0;
  /** The position of its first event, once a participant saw it or was told. */
  first = 0;
  answer: AppendResponse | undefined;
  /** The versions of its streams directly before it, by the log. */
  before: readonly number[] | undefined;
  /** The known versions of the streams in its expectations when it was last sent. */
  knownAtSend: readonly number[] = [];

  constructor(seed: number, writer: number, number: number, shape: Shape, checks: Checks) {
    this.seed = seed;
    this.writer = writer;
    this.number = number;
    this.shape = shape;
    this.checks = checks;
  }

  get name(): string {
    return `append ${this.number} of writer ${this.writer}`;
  }

  /** The encoded `NewEvent`. */
  body(index: number): Buffer {
    const { seed, writer, number: append, shape } = this;
    const slot = (append * 61 + writer * 7 + index) % recentMax;
    const known = recent[slot];
    if (known?.op === this && known.index === index) return known.body;
    const body = Buffer.from(eventBody(seed, shape, { writer, append, index }));
    recent[slot] = { op: this, index, body };
    return body;
  }

  /** The encoded `AppendRequest`. */
  request(): Buffer {
    const { expectations = [], condition } = this.checks;
    const rest = toBinary(
      AppendRequestSchema,
      create(AppendRequestSchema, {
        expectations: expectations.map(({ stream, version }) => ({
          stream,
          expected: { case: "expectedVersion" as const, value: BigInt(version) },
        })),
        ...(condition && {
          conditions: [
            { query: { items: [{ tags: [condition.tag] }] }, after: BigInt(condition.after) },
          ],
        }),
      }),
    );
    const parts: Uint8Array[] = [];
    for (let i = 0; i < this.shape.count; i++) {
      const body = this.body(i);
      parts.push(delimited(0x12, body.length), body);
    }
    return Buffer.concat([...parts, rest]);
  }

  /** How many of its events go to a stream. */
  eventsIn(streamIndex: number): number {
    const { count, streams } = this.shape;
    return Math.floor((count - 1 - streamIndex) / streams.length) + 1;
  }
}

/** A tag of one byte and a length. */
export function delimited(tag: number, length: number): Buffer {
  const bytes = [tag];
  let rest = length;
  for (; rest >= 0x80; rest >>>= 7) bytes.push((rest & 0x7f) | 0x80);
  return Buffer.from([...bytes, rest]);
}
