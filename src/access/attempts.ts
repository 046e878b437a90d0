// Failed attempts to authenticate, by address: each address has a few, and gets further ones back
// with time. Only guesses count, so that a client without a credential, or with one that was valid
// once, does not shut out others at its address.

const burst = 10;
const msForEach = 1_000;
/** Beyond it the longest silent address is forgotten. */
const addressesMax = 10_000;

interface Bucket {
  used: number;
  atMs: number;
}

export class Attempts {
  private readonly buckets = new Map<string, Bucket>();

  /** Milliseconds until another attempt is looked at. 0: now. */
  waitMs(peer: string, nowMs: number): number {
    const bucket = this.buckets.get(addressOf(peer));
    if (bucket === undefined) return 0;
    refill(bucket, nowMs);
    return bucket.used < burst ? 0 : Math.ceil((bucket.used - burst + 1) * msForEach);
  }

  failed(peer: string, nowMs: number): void {
    const address = addressOf(peer);
    const bucket = this.buckets.get(address) ?? { used: 0, atMs: nowMs };
    refill(bucket, nowMs);
    bucket.used++;
    this.buckets.delete(address);
    this.buckets.set(address, bucket);
    for (const oldest of this.buckets.keys()) {
      if (this.buckets.size <= addressesMax) break;
      this.buckets.delete(oldest);
    }
  }
}

function refill(bucket: Bucket, nowMs: number): void {
  bucket.used = Math.max(0, bucket.used - Math.max(0, nowMs - bucket.atMs) / msForEach);
  bucket.atMs = nowMs;
}

/** The address without its port. A /64 network of IPv6, as one customer has, is one address. */
export function addressOf(peer: string): string {
  const v6 = /^\[([0-9a-f:.]+)(?:%[^\]]*)?\]:\d+$/i.exec(peer)?.[1];
  if (v6 === undefined) return peer.replace(/:\d+$/, "");
  const mapped = /^::ffff:([\d.]+)$/i.exec(v6)?.[1];
  if (mapped !== undefined) return mapped;
  const [head = "", tail] = v6.split("::");
  const left = head === "" ? [] : head.split(":");
  const right = tail === undefined || tail === "" ? [] : tail.split(":");
  const zeros = tail === undefined ? 0 : 8 - left.length - right.length;
  const groups = [...left, ...Array<string>(Math.max(0, zeros)).fill("0"), ...right];
  return groups.slice(0, 4).join(":");
}
