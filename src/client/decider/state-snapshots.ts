// Snapshots of a repository's states: their kind, their form, and when one is due. They are a
// cache: a failure is reported and costs time, but never fails a command.

import { isDeepStrictEqual } from "node:util";
import type { AnnalsClient } from "../annals-client.ts";
import type { EventShape } from "../store/event.ts";
import { jsonText } from "../store/json-text.ts";
import type { Snapshot } from "../store/snapshots.ts";

export interface SnapshotOptions<State> {
  /** A snapshot is saved when at least this many events came after the last one. */
  readonly everyEvents: number;
  /**
   * The version of the form of `State` and of what `evolve` makes of it. Raise it when either
   * changes: snapshots with other versions are ignored.
   */
  readonly schemaVersion: number;
  /** Absent: `state`. Tells apart several kinds of states of one stream. */
  readonly name?: string | undefined;
  /** Absent: JSON. A state that JSON would change is not saved, which is reported to `onError`. */
  readonly codec?: StateCodec<State> | undefined;
  /** Called with errors of saving and decoding snapshots. */
  readonly onError?: ((error: unknown, stream: string) => void) | undefined;
}

export interface StateCodec<State> {
  readonly contentType: string;
  readonly encode: (state: State) => Uint8Array;
  /** Throws if the bytes are not valid; then the state is computed from the first event. */
  readonly decode: (bytes: Uint8Array) => State;
}

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const savesMax = 8;
/** The last saved version is remembered for this many streams. */
const rememberedMax = 1_000;

function jsonCodec<State>(): StateCodec<State> {
  const decode = (bytes: Uint8Array) => JSON.parse(decoder.decode(bytes)) as State;
  return {
    contentType: "application/json",
    decode,
    encode(state) {
      const bytes = new TextEncoder().encode(jsonText(state));
      if (!isDeepStrictEqual(decode(bytes), state)) {
        throw new TypeError("the state is not the same after JSON: give the snapshots a codec");
      }
      return bytes;
    },
  };
}

export class StateSnapshots<State> {
  readonly kind: string;
  private readonly options: SnapshotOptions<State>;
  private readonly codec: StateCodec<State>;
  /** Saves in progress, by stream. */
  private readonly saves = new Map<string, Promise<void>>();
  /** The last saved version, by stream. A load may have begun before the save. */
  private readonly saved = new Map<string, number>();

  constructor(options: SnapshotOptions<State>) {
    const { name = "state", schemaVersion, codec = jsonCodec<State>() } = options;
    this.kind = `${name}/${schemaVersion}`;
    this.options = options;
    this.codec = codec;
  }

  /** Undefined: the snapshot cannot be used. */
  stateOf = (snapshot: Snapshot): State | undefined => {
    try {
      return this.codec.decode(snapshot.state);
    } catch (error) {
      this.options.onError?.(error, snapshot.stream);
      return undefined;
    }
  };

  isDue(stream: string, version: number, snapshotVersion: number): boolean {
    const { everyEvents } = this.options;
    const busy = this.saves.has(stream) || this.saves.size >= savesMax;
    const last = Math.max(snapshotVersion, this.saved.get(stream) ?? 0);
    return version - last >= everyEvents && !busy;
  }

  /** Saves in the background, after the command was answered. */
  save<E extends EventShape>(
    client: AnnalsClient<E>,
    { stream, version, epoch }: { stream: string; version: number; epoch: string },
    state: () => State,
  ): void {
    const save = (async () => {
      try {
        const { contentType } = this.codec;
        const bytes = this.codec.encode(state());
        await client.snapshots.save({
          stream,
          kind: this.kind,
          version,
          contentType,
          state: bytes,
          epoch,
        });
        if (this.saved.size >= rememberedMax) this.saved.clear();
        this.saved.set(stream, version);
      } catch (error) {
        this.options.onError?.(error, stream);
      }
    })();
    this.saves.set(stream, save);
    void save.finally(() => this.saves.delete(stream));
  }

  /** Resolves when all saves in progress have ended. */
  async settled(): Promise<void> {
    await Promise.all(this.saves.values());
  }
}
