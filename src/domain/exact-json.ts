// JSON whose numbers are kept as they were written, read and written in steps, so that a long text
// does not keep others from the main thread.

import {
  exactNumber,
  isChanged,
  isJsonObject,
  jsonCost,
  jsonDepthMax,
  jsonShape,
  numberAt,
  parseJson,
  setMember,
  stringEnds,
  type Json,
  type JsonShape,
} from "./json.ts";
import { atOnce, Effort, stepBytes, type Steps } from "./steps.ts";

/**
 * As `parseJson`, but a number that a double would change is kept as its text (`isExactNumber`), so
 * that `JSON.stringify` writes the same number. Beyond `jsonDepthMax` numbers are as doubles.
 */
export function parseExactJson(bytes: Uint8Array): Json | undefined {
  return atOnce(parseExactInSteps(bytes, jsonShape(bytes)));
}

/** As `parseExactJson`. */
export function* parseExactInSteps(bytes: Uint8Array, shape: JsonShape): Steps<Json | undefined> {
  const cost = jsonCost(bytes, shape);
  const json = parseJson(bytes);
  if (cost >= stepBytes) yield cost;
  if (json === undefined || shape.depth > jsonDepthMax || !shape.changesNumbers) return json;
  return yield* exactValue(bytes);
}

/** An array or object while it is read, and the key of its next member. */
interface Open {
  readonly value: Json[] | { [key: string]: Json };
  key: string | undefined;
}

/** What a value costs, as the scheduler counts, and each byte of its text. */
const valueCost = 32;
const byteShare = 1 / 8;

/** The value of a text that `parseJson` has found to be JSON. */
function* exactValue(json: Uint8Array): Steps<Json> {
  const around: Open[] = [];
  const endOf = stringEnds(json);
  const effort = new Effort();
  for (let i = 0; ; i++) {
    const start = i;
    const inside = around.at(-1);
    let value: Json;
    switch (json[i]) {
      case 0x22: {
        i = endOf(i);
        value = parseJson(json.subarray(start, i + 1)) as string;
        const isKey = inside !== undefined && !Array.isArray(inside.value);
        if (!isKey || inside.key !== undefined) break;
        inside.key = value;
        continue;
      }
      case 0x7b:
        around.push({ value: {}, key: undefined });
        continue;
      case 0x5b:
        around.push({ value: [], key: undefined });
        continue;
      case 0x7d:
      case 0x5d:
        value = (around.pop() as Open).value;
        break;
      case 0x74:
        value = true;
        i += 3;
        break;
      case 0x66:
        value = false;
        i += 4;
        break;
      case 0x6e:
        value = null;
        i += 3;
        break;
      case 0x20:
      case 0x09:
      case 0x0a:
      case 0x0d:
      case 0x2c:
      case 0x3a:
        continue;
      default: {
        const number = numberAt(json, i);
        i += number.length - 1;
        value = isChanged(number) ? exactNumber(number) : Number(number);
      }
    }
    const into = around.at(-1);
    if (into === undefined) return value;
    put(into, value);
    if (effort.spend(valueCost + (i - start) * byteShare)) yield effort.take();
  }
}

function put(into: Open, value: Json): void {
  if (Array.isArray(into.value)) into.value.push(value);
  else setMember(into.value, into.key as string, value);
  into.key = undefined;
}

/** The text of a value, and `JsonShape.values` of that text. */
export interface WrittenJson {
  readonly text: string;
  readonly values: number;
}

/** As `JSON.stringify`. The caller bounds the nesting. */
export function* jsonTextInSteps(value: Json): Steps<WrittenJson> {
  const writing: Writing = { parts: [], values: 1, effort: new Effort() };
  yield* write(value, writing);
  return { text: writing.parts.join(""), values: writing.values };
}

interface Writing {
  readonly parts: string[];
  values: number;
  readonly effort: Effort;
}

function* write(value: Json, writing: Writing): Steps<void> {
  const { parts, effort } = writing;
  const isList = Array.isArray(value);
  if (!isList && !isJsonObject(value)) return writeScalar(value, parts, effort);
  const keys = isList ? [] : Object.keys(value);
  const { length } = isList ? value : keys;
  writing.values += Math.max(1, length);
  parts.push(isList ? "[" : "{");
  for (let i = 0; i < length; i++) {
    const key = keys[i];
    if (i > 0) parts.push(",");
    if (key !== undefined) parts.push(JSON.stringify(key), ":");
    const member = (isList ? value[i] : value[key as string]) as Json;
    if (typeof member === "object" && member !== null) yield* write(member, writing);
    else writeScalar(member, parts, effort);
    if (effort.spend(valueCost)) yield effort.take();
  }
  parts.push(isList ? "]" : "}");
}

function writeScalar(value: Json, parts: string[], effort: Effort): void {
  const text = JSON.stringify(value);
  parts.push(text);
  effort.spend(text.length * byteShare);
}
