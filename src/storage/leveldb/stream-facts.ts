// What is known of streams and types: from the dictionary, the postings, and the chunks of the
// first and last event.

import { corruption } from "../../domain/errors.ts";
import type { EventTypeFacts, NamePage, StreamFacts } from "../storage.ts";
import { chunkHolding } from "./chunks.ts";
import type { Core } from "./core.ts";
import { TermKind } from "./keys.ts";
import { namesWithPrefix } from "./names.ts";
import { firstPosition } from "./posting.ts";
import { firstPostingFrom } from "./postings.ts";
import type { TermHead } from "./terms.ts";

const streamsAtOnceMax = 16;

/** A stream as of the head, or undefined where it has no events. */
export async function streamFacts(core: Core, name: string): Promise<StreamFacts | undefined> {
  const head = core.head.position;
  const [term] = await core.terms.load(core.kv, [{ kind: TermKind.stream, name }], head);
  return term && term.count > 0 ? factsOf(core, name, term, head) : undefined;
}

export async function listStreams(core: Core, page: NamePage): Promise<StreamFacts[]> {
  const head = core.head.position;
  const names = await namesWithPrefix(core, TermKind.stream, page, head);
  const streams: StreamFacts[] = [];
  for (let at = 0; at < names.length; at += streamsAtOnceMax) {
    const some = names.slice(at, at + streamsAtOnceMax);
    const terms = some.map((name) => ({ kind: TermKind.stream, name }));
    const heads = await core.terms.load(core.kv, terms, head);
    const facts = some.map((name, i) => factsOf(core, name, heads[i] as TermHead, head));
    streams.push(...(await Promise.all(facts)));
  }
  return streams;
}

export async function listEventTypes(core: Core, page: NamePage): Promise<EventTypeFacts[]> {
  const head = core.head.position;
  const names = await namesWithPrefix(core, TermKind.type, page, head);
  const terms = names.map((name) => ({ kind: TermKind.type, name }));
  const heads = await core.terms.load(core.kv, terms, head);
  return Promise.all(
    names.map(async (type, i) => {
      const term = heads[i] as TermHead;
      const first = await firstOf(core, term);
      return { type, eventCount: term.count, firstPosition: first, lastPosition: term.last };
    }),
  );
}

async function factsOf(
  core: Core,
  stream: string,
  term: TermHead,
  head: number,
): Promise<StreamFacts> {
  const first = await firstOf(core, term);
  const [oldest, newest] = await Promise.all([
    chunkHolding(core, first, head),
    chunkHolding(core, term.last, head),
  ]);
  return {
    stream,
    version: term.count,
    eventCount: term.count,
    firstPosition: first,
    lastPosition: term.last,
    firstRecordedAt: oldest.recordedAt,
    lastRecordedAt: newest.recordedAt,
  };
}

async function firstOf(core: Core, term: TermHead): Promise<number> {
  const posting = await firstPostingFrom(core.kv, term.number, 0, term.lastChunk);
  if (posting?.before !== 0) {
    throw corruption("the first index entry of a term is missing", { first: term.last });
  }
  return firstPosition(posting);
}
