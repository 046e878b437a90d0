// Snapshots of a repository's states: which kind they are stored under, their form, when one is
// due. They are a cache: whatever goes wrong with one is told and costs time, never a command.

import { isDeepStrictEqual } from "node:util";
import type { AnnalsClient } from "../annals-client.ts";
import type { EventShape } from "../store/event.ts";
import { jsonText } from "../store/json-text.ts";
import type { Snapshot } from "../store/snapshots.ts";

export interface SnapshotOptions<State> {
  /** Saved when at least so many events came since the last one. */
  readonly everyEvents: number;
  /**
   * Of `State`'s form and of what `evolve` makes of it. Raise it whenever either changes: snapshots
   * of other versions are passed over.
   */
  readonly schemaVersion: number;
  /** Absent: `state`. To keep several kinds of states of one stream apart. */
  readonly name?: string | undefined;
  /** Absent: JSON; a state that JSON would change is not saved, which `onError` is told. */
  readonly codec?: StateCodec<State> | undefined;
  /** Told of snapshots that could not be saved or understood. */
  readonly onError?: ((error: unknown, stream: string) => void) | undefined;
}

export interface StateCodec<State> {
  readonly contentType: string;
  readonly encode: (state: State) => Uint8Array;
  /** Throws where it is not understood; the events are folded from the first on then. */
  readonly decode: (bytes: Uint8Array) => State;
}

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const savesMax = 8;
/** Streams whose last saved version is remembered. */
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
  /** Under way, by stream. */
  private readonly saves = new Map<string, Promise<void>>();
  /**
   * By stream, the version saved last: a load that was faster than the save does not know of it.
   */
  private readonly saved = new Map<string, number>();

  constructor(options: SnapshotOptions<State>) {
    const { name = "state", schemaVersion, codec = jsonCodec<State>() } = options;
    this.kind = `${name}/${schemaVersion}`;
    this.options = options;
    this.codec = codec;
  }

  /** Undefined: of no use. */
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

  /** Saves behind the command's back: it has been answered by then. */
  save<E extends EventShape>(
    client: AnnalsClient<E>,
    stream: string,
    version: number,
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

  /** When all that was begun is over. */
  async settled(): Promise<void> {
    await Promise.all(this.saves.values());
  }
}
