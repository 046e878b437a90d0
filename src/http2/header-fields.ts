// Header fields, their validity, and HPACK's static table.
// Source: RFC 9113, section 8.2.1; RFC 7541, section 4.1 and appendix A.

export interface Field {
  readonly name: string;
  readonly value: string;
  /** As RFC 7541 counts it. */
  readonly bytes: number;
  /** Whether HTTP allows such a name and value. */
  readonly isSound: boolean;
}

const fieldOverheadBytes = 32;
const soundName = /^:?[!#$%&'*+\-.^_`|~0-9a-z]+$/;
// oxlint-disable-next-line eslint/no-control-regex
const unsoundValue = /^[ \t]|[ \t]$|[\0\r\n]/;

/** Characters of `name` and `value` are bytes (latin1). */
export function fieldOf(name: string, value: string): Field {
  const isSound = soundName.test(name) && !unsoundValue.test(value);
  return { name, value, bytes: name.length + value.length + fieldOverheadBytes, isSound };
}

const entries =
  ":authority|:method GET|:method POST|:path /|:path /index.html|:scheme http|:scheme https|" +
  ":status 200|:status 204|:status 206|:status 304|:status 400|:status 404|:status 500|" +
  "accept-charset|accept-encoding gzip, deflate|accept-language|accept-ranges|accept|" +
  "access-control-allow-origin|age|allow|authorization|cache-control|content-disposition|" +
  "content-encoding|content-language|content-length|content-location|content-range|content-type|" +
  "cookie|date|etag|expect|expires|from|host|if-match|if-modified-since|if-none-match|if-range|" +
  "if-unmodified-since|last-modified|link|location|max-forwards|proxy-authenticate|" +
  "proxy-authorization|range|referer|refresh|retry-after|server|set-cookie|" +
  "strict-transport-security|transfer-encoding|user-agent|vary|via|www-authenticate";

/** The first entry has the index 1. */
export const staticTable: readonly Field[] = entries.split("|").map((entry) => {
  const space = entry.indexOf(" ");
  return space < 0 ? fieldOf(entry, "") : fieldOf(entry.slice(0, space), entry.slice(space + 1));
});
