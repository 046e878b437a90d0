// The head of a request by HTTP/1.1: its first line and its fields. Strict, because bytes that two
// readers read differently are how a request is smuggled past one of them.
// Source: RFC 9112, sections 2 to 3, 5 and 6; RFC 9110, sections 5, 7.2 and 10.1.1.

/** A request that is refused, with whose answer the connection ends. */
export class BadRequest extends Error {
  readonly status: number;

  constructor(message: string, status = 400) {
    super(message);
    this.status = status;
  }
}

export interface RequestHead {
  /** As HTTP/2 has them: by lower-case names, with `:method`, `:path` and `:authority`. */
  readonly headers: ReadonlyMap<string, string>;
  readonly isHttp10: boolean;
  readonly body: { readonly bytes: number } | "chunked";
  /** The client wants the connection to end with this request. */
  readonly isLast: boolean;
  /** The client waits for `100 Continue` before it sends the body. */
  readonly awaitsContinue: boolean;
}

const fieldsMax = 512;
const firstLine = /^([!#$%&'*+\-.^_`|~\dA-Za-z]+) ([\x21-\x7e]+) HTTP\/(\d\.\d)$/;
const nameForm = /^[!#$%&'*+\-.^_`|~\dA-Za-z]+$/;
const absoluteForm = /^https?:\/\/([^/?#]+)(.*)$/i;
const hostForm = /^[\w.~!$&'()*+,;=%:[\]-]*$/;
/** A control character but a tab, CR or LF that is not beside the other. LF may be the first. */
// oxlint-disable-next-line eslint/no-control-regex
const unsound = /[\0-\x08\x0b\x0c\x0e-\x1f\x7f]|\r(?!\n|$)|(?<=[^\r])\n/;
/** Fields that must not be given twice, whatever their values. */
const single: ReadonlySet<string> = new Set(["host", "content-length", "transfer-encoding"]);

/** Throws where a part of a head, from any place on, can be of no valid request. */
export function checkPart(part: string): void {
  if (unsound.test(part)) {
    throw new BadRequest(
      "the request has a control character, or a line that does not end in CRLF",
    );
  }
}

/** `text` is a whole head, with the end of its last line; characters are bytes (latin1). */
export function requestHead(text: string): RequestHead {
  checkPart(text);
  const start = text.indexOf("\r\n");
  const line = firstLine.exec(text.slice(0, start));
  if (line === null) {
    throw new BadRequest("the first line is not METHOD TARGET HTTP/1.1, in visible ASCII");
  }
  const [, method = "", target = "", version] = line;
  if (version !== "1.1" && version !== "1.0") {
    throw new BadRequest(`HTTP/${version} is not spoken here, but HTTP/1.1 and HTTP/2`, 505);
  }
  const isHttp10 = version === "1.0";
  const headers = new Map([
    [":method", method],
    [":path", target],
    [":authority", ""],
  ]);
  addFields(headers, text, start + 2);
  const host = headers.get("host");
  if (host === undefined && !isHttp10) throw new BadRequest("host: absent");
  if (!hostForm.test(host ?? "")) throw new BadRequest("host: is no name or address");
  headers.set(":authority", host ?? "");
  if (!target.startsWith("/")) locate(headers, method, target);
  const expectation = isHttp10 ? undefined : headers.get("expect")?.toLowerCase();
  if (expectation !== undefined && expectation !== "100-continue") {
    throw new BadRequest("expect: of this, only 100-continue is known", 417);
  }
  return {
    headers,
    isHttp10,
    body: bodyOf(headers, isHttp10),
    isLast: isHttp10 || listed(headers.get("connection")).includes("close"),
    awaitsContinue: expectation !== undefined,
  };
}

/** Whether this is a field: for trailers, of which no more is asked. */
export function isField(line: string): boolean {
  const colon = line.indexOf(":");
  return (
    nameForm.test(line.slice(0, Math.max(0, colon))) && !/[\r\n]/.test(line) && !unsound.test(line)
  );
}

function addFields(headers: Map<string, string>, text: string, from: number): void {
  let count = 0;
  for (let at = from; at < text.length;) {
    const end = text.indexOf("\r\n", at);
    const colon = text.indexOf(":", at);
    const name = colon < 0 || colon > end ? "" : text.slice(at, colon).toLowerCase();
    // This refuses folded lines, and spaces before the colon, too.
    if (!nameForm.test(name)) throw new BadRequest("a line of the head is not NAME: VALUE");
    if (++count > fieldsMax)
      throw new BadRequest(`the head has more than ${fieldsMax} fields`, 431);
    const value = trimmed(text, colon + 1, end);
    const before = headers.get(name);
    if (before !== undefined && single.has(name)) throw new BadRequest(`${name}: is given twice`);
    const joint = name === "cookie" ? "; " : ", ";
    headers.set(name, before === undefined ? value : before + joint + value);
    at = end + 2;
  }
}

/** A target that is no path. */
function locate(headers: Map<string, string>, method: string, target: string): void {
  if (target === "*" && method === "OPTIONS") return;
  const [, authority, path = ""] = absoluteForm.exec(target) ?? [];
  if (authority === undefined || !hostForm.test(authority)) {
    throw new BadRequest("the target is no path, and no URL of http or https");
  }
  headers.set(":authority", authority);
  headers.set(":path", path.startsWith("/") ? path : `/${path}`);
}

function bodyOf(headers: ReadonlyMap<string, string>, isHttp10: boolean): RequestHead["body"] {
  const length = headers.get("content-length");
  const coding = headers.get("transfer-encoding");
  if (coding === undefined) {
    if (length === undefined) return { bytes: 0 };
    if (/^\d{1,15}$/.test(length)) return { bytes: Number(length) };
    throw new BadRequest("content-length: is not a number of 1 to 15 digits");
  }
  if (length !== undefined) throw new BadRequest("content-length: excludes transfer-encoding");
  if (isHttp10) throw new BadRequest("transfer-encoding: is not of HTTP/1.0");
  if (coding.toLowerCase() !== "chunked") throw new BadRequest("transfer-encoding: is not chunked");
  return "chunked";
}

function listed(value = ""): string[] {
  return value === "" ? [] : value.split(",").map((each) => each.trim().toLowerCase());
}

/** Without the spaces and tabs around it. */
function trimmed(text: string, start: number, end: number): string {
  let [from, to] = [start, end];
  while (from < to && isBlank(text.charCodeAt(from))) from++;
  while (to > from && isBlank(text.charCodeAt(to - 1))) to--;
  return text.slice(from, to);
}

function isBlank(code: number): boolean {
  return code === 0x20 || code === 0x09;
}
