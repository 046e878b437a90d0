// Where and when the chunks of some positions were recorded. What is told of a stream needs no more
// of its first and last chunk, which may have megabytes.

export interface ChunkPlace {
  readonly first: number;
  readonly last: number;
  /** Microseconds since 1970, UTC. */
  readonly recordedAt: number;
}

/** Some 100 bytes each. */
const placesMax = 8_192;

export class ChunkPlaces {
  /** By a position in the chunk, what was used least lately first. */
  private readonly places = new Map<number, ChunkPlace>();

  get(position: number): ChunkPlace | undefined {
    const place = this.places.get(position);
    if (place === undefined) return undefined;
    this.places.delete(position);
    this.places.set(position, place);
    return place;
  }

  set(position: number, { first, last, recordedAt }: ChunkPlace): void {
    this.places.set(position, { first, last, recordedAt });
    if (this.places.size <= placesMax) return;
    for (const [oldest] of this.places) {
      this.places.delete(oldest);
      return;
    }
  }

  clear(): void {
    this.places.clear();
  }
}
