// What of an event only this protocol knows, and under which keys of an event's metadata it is
// kept: clients of annals.v1 see these keys, and may write them.

/** The metadata bytes of this protocol, if they are UTF-8. */
export const metadataKey = "kurrentdb-metadata";
/** The metadata bytes of this protocol in base64, if they are not UTF-8. */
export const metadataBase64Key = "kurrentdb-metadata-base64";
/** The id that the client chose, if the log could not use it: see append-rules.ts. */
export const clientIdKey = "kurrentdb-id";

export const linkType = "$>";
export const metadataType = "$metadata";
/** The revision of the event that records a tombstone. */
export const tombstoneRevision = 2n ** 63n - 1n;

/** The version by which a record stands for that event: no stream gets so far. */
export const tombstoneVersion = Number.MAX_SAFE_INTEGER;

/** The stream and revision that a link points to. Undefined: the data is not that of a link. */
export function linkTarget(data: Uint8Array): { stream: string; revision: number } | undefined {
  const text = Buffer.from(data).toString("utf8");
  const at = text.indexOf("@");
  const revision = text.slice(0, Math.max(at, 0));
  if (!/^\d{1,15}$/.test(revision) || at === text.length - 1) return undefined;
  return { stream: text.slice(at + 1), revision: Number(revision) };
}
