// A log of another system whose events are moved into a store. What each kind of source gives is
// already in the form of an append; docs/moving.md has the mapping of each.

import type { LineEvent } from "../output/event-line.ts";

/** An event of a source, ready to be appended. */
export interface SourceEvent extends LineEvent {
  /** When the source recorded it: RFC 3339. Empty: the source does not say. */
  readonly recordedAt: string;
  /** Its number in its stream, as the source counts. Undefined: it has none. */
  readonly revision: bigint | undefined;
}

/** A change of a stream that the source records in its log. */
export type SourceChange =
  | { readonly kind: "delete"; readonly permanent: boolean }
  | {
      readonly kind: "policy";
      /** Undefined: any age. */
      readonly maxAgeSeconds: number | undefined;
      /** Undefined: any number. */
      readonly maxCount: number | undefined;
      /** The first revision that is kept, as the source counts. Undefined: every one. */
      readonly firstRevision: bigint | undefined;
      readonly labels: Readonly<Record<string, string>>;
    };

/** What is at a position of a source. Several may share one: they are stored together. */
export type SourceItem =
  | { readonly kind: "event"; readonly position: bigint; readonly event: SourceEvent }
  | {
      readonly kind: "change";
      readonly position: bigint;
      readonly stream: string;
      readonly change: SourceChange;
      /** When the source recorded it: RFC 3339. */
      readonly recordedAt: string;
    }
  /** Another consumer's progress in a third log, which the source keeps beside its events. */
  | {
      readonly kind: "tracking";
      readonly position: bigint;
      readonly consumer: string;
      readonly source: string;
      readonly tracked: bigint;
    }
  /** Nothing that a store keeps, such as a system event. */
  | { readonly kind: "passed"; readonly position: bigint };

export interface SourceRange {
  /** Only what comes after. Undefined: everything. */
  readonly after: bigint | undefined;
  /** True: goes on with what arrives. False: ends at the end of the log. */
  readonly isLive: boolean;
  readonly signal: AbortSignal;
}

export interface EventSource {
  /** Names the log without credentials, such as `kurrentdb://host:2113`. */
  readonly name: string;
  /** What its positions count, such as `kurrentdb`. */
  readonly kind: string;
  /** The metadata entry of an id that a store could not use. */
  readonly idKey: string;
  /** The last position that there is now. Undefined: the log is empty. */
  head(signal: AbortSignal): Promise<bigint | undefined>;
  /** In the order of the log. May fail with anything; it is then read again from where it was. */
  read(range: SourceRange): AsyncIterable<SourceItem>;
  /** Whether the failure can pass by itself. */
  isTemporary(error: unknown): boolean;
  close(): Promise<void>;
}

export interface SourceOptions {
  /** The media type of payloads that the source keeps without one. */
  readonly contentType: string | undefined;
}

type Open = (url: string, options: SourceOptions) => Promise<EventSource>;

/** Each kind loads only what it needs. */
const kinds: readonly (readonly [RegExp, () => Promise<Open>])[] = [
  [
    /^(?:kurrentdb|kurrent|kdb|esdb)(?:\+discover)?:\/\//,
    async () => (await import("./kurrentdb-source.ts")).openKurrentdb,
  ],
  [
    /^(?:message-db|marten):postgres(?:ql)?:/,
    async () => (await import("./table-source.ts")).openTable,
  ],
  [/^umadbs?:\/\//, async () => (await import("./umadb-source.ts")).openUmadb],
];

/** Undefined: the text does not name a source, but a file. */
export function sourceKind(url: string): (() => Promise<Open>) | undefined {
  return kinds.find(([scheme]) => scheme.test(url))?.[1];
}
