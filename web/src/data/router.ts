// Addresses of pages: `#/streams/user-1/state?at=5`. They stand behind `#`, so that one file answers
// for all of them, and names of streams are not in the logs of proxies.

export interface Place {
  /** Decoded: `["streams", "user-1", "state"]`. Empty: the first page. */
  readonly path: readonly string[];
  readonly parameters: URLSearchParams;
}

export function placeOf(hash: string): Place {
  const [path = "", query = ""] = hash.replace(/^#?\/?/, "").split("?", 2);
  const parts = path.split("/").filter((part) => part !== "");
  return { path: parts.map(decoded), parameters: new URLSearchParams(query) };
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

/** The address of a page. Parameters that are empty are left out. */
export function hashOf(
  path: readonly string[],
  parameters: Iterable<readonly [string, string]> = [],
): string {
  const given = [...parameters].filter(([, value]) => value !== "");
  const query = new URLSearchParams(given.map(([name, value]) => [name, value])).toString();
  return `#/${path.map(encodeURIComponent).join("/")}${query === "" ? "" : `?${query}`}`;
}

export function streamHash(stream: string, tab = "", more: [string, string][] = []): string {
  return hashOf(["streams", stream, ...(tab === "" ? [] : [tab])], more);
}

/** With the epoch, because a restored store may have another event at the position. */
export function eventHash(position: string, epoch = ""): string {
  return hashOf(["events", position], [["epoch", epoch]]);
}

export function go(hash: string): void {
  location.hash = hash;
}

/** The same page with other parameters, without an entry in the history. */
export function replaceHash(hash: string): void {
  history.replaceState(null, "", hash);
  dispatchEvent(new HashChangeEvent("hashchange"));
}
