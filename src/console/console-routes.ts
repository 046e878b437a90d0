// The console: a fixed table of files that browsers load, built from web/ by `npm run console`. The
// files contain nothing of the store, so that everybody may load them. What they show comes from
// calls, which need the same permissions as any other client's.

import { createHash } from "node:crypto";
import { promisify } from "node:util";
import { gzip } from "node:zlib";
import type { HttpAnswer, HttpRequest, Route, Routes } from "../http/http-server.ts";

interface ConsoleFile {
  readonly type: string;
  readonly body: Buffer;
  readonly zipped: Buffer;
  /** Quoted, as in the header. */
  readonly tag: string;
}

const zip = promisify(gzip);
const paths = ["/", "/console/app.js", "/console/app.css", "/console/icon.svg"] as const;

/** No inline script or style, nothing from elsewhere, no frame around it, no markup from texts. */
const policy = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self'",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
  "trusted-types 'none'",
].join("; ");

const headers = {
  "content-security-policy": policy,
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-resource-policy": "same-origin",
  "referrer-policy": "no-referrer",
  // Browsers keep the files and ask each time whether they are current, because another version of
  // the server has other files at the same paths.
  "cache-control": "no-cache",
  vary: "accept-encoding",
};

/** None, unless it is on. */
export function consoleRoutes(isOn: boolean): Routes {
  return new Map((isOn ? paths : []).map((path) => [path, routeOf(path)]));
}

/** A file is loaded when it is first asked for: a server that nobody looks at does not hold it. */
function routeOf(path: (typeof paths)[number]): Route {
  let loaded: Promise<ConsoleFile> | undefined;
  return async (request) => answerOf(await (loaded ??= load(path)), request);
}

async function load(path: (typeof paths)[number]): Promise<ConsoleFile> {
  const { files } = await import("./files.js");
  const { type, text } = files[path];
  const body = Buffer.from(text);
  const tag = `"${createHash("sha256").update(body).digest("base64url").slice(0, 22)}"`;
  return { type, body, zipped: await zip(body, { level: 9 }), tag };
}

function answerOf({ type, body, zipped, tag }: ConsoleFile, request: HttpRequest): HttpAnswer {
  const common = { type, headers: { ...headers, etag: tag } };
  if (isKnown(request.header("if-none-match"), tag)) return { ...common, status: 304, body: "" };
  if (!acceptsGzip(request.header("accept-encoding"))) return { ...common, status: 200, body };
  const zippedHeaders = { ...common.headers, "content-encoding": "gzip" };
  return { ...common, headers: zippedHeaders, status: 200, body: zipped };
}

/** A proxy that compresses makes the tag a weak one. */
function isKnown(given: string | undefined, tag: string): boolean {
  if (given === undefined) return false;
  const tags = given.split(",").map((each) => each.trim().replace(/^W\//, ""));
  return tags.includes(tag) || tags.includes("*");
}

function acceptsGzip(given: string | undefined): boolean {
  return /(^|,)\s*(gzip|\*)\s*(;\s*q=(?!0(\.0*)?\s*(,|$))[\d.]+\s*)?(,|$)/i.test(given ?? "");
}
