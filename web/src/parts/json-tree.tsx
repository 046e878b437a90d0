// JSON to fold and unfold. Only what is unfolded is made, and of a long list a hundred at a time.

import { useState } from "preact/hooks";
import { compact, isLeaf, partsOf, type Json } from "../data/exact-json.ts";
import { counted, grouped } from "../data/format.ts";
import { Text } from "./text.tsx";

/** Parts of one object or array that are shown at first, and with each further click. */
const partsStep = 100;
const textMax = 2_000;
/** Objects and arrays are open at first down to here, where they are not long. */
const openDepth = 2;
const openPartsMax = 40;

interface TreeProps {
  readonly value: Json;
  readonly name?: string;
  readonly depth?: number;
  readonly isIndex?: boolean;
}

export function JsonTree({ value }: { readonly value: Json }) {
  return (
    <div class="json" role="group" aria-label="JSON">
      <Node value={value} depth={0} />
    </div>
  );
}

function Node({ value, name, depth = 0, isIndex = false }: TreeProps) {
  const parts = isLeaf(value) ? [] : partsOf(value);
  const [isOpen, setOpen] = useState(depth < openDepth && parts.length <= openPartsMax);
  const label = name !== undefined && (
    <>
      <span class={isIndex ? "json-index" : "json-name"}>
        <Text>{name}</Text>
      </span>
      <span class="json-mark">: </span>
    </>
  );
  if (isLeaf(value)) {
    return (
      <div class="json-line">
        {label}
        <Leaf value={value} />
      </div>
    );
  }
  const [open, close] = value.kind === "object" ? ["{", "}"] : ["[", "]"];
  if (parts.length === 0) {
    return (
      <div class="json-line">
        {label}
        <span class="json-mark">{open + close}</span>
      </div>
    );
  }
  const noun = value.kind === "object" ? "member" : "item";
  return (
    <div>
      <div class="json-line">
        <button
          type="button"
          class="json-fold"
          aria-expanded={isOpen}
          aria-label={`${name ?? "value"}: ${counted(parts.length, noun)}`}
          onClick={() => setOpen(!isOpen)}
        >
          <span class="json-arrow" aria-hidden="true">
            ›
          </span>
        </button>
        {label}
        <span class="json-mark">{open}</span>
        {!isOpen && (
          <button type="button" class="json-more" onClick={() => setOpen(true)}>
            {glance(value)}
          </button>
        )}
        {!isOpen && <span class="json-mark">{close}</span>}
      </div>
      {isOpen && (
        <>
          <Parts parts={parts} depth={depth + 1} isIndex={value.kind === "array"} />
          <div class="json-line">
            <span class="json-mark">{close}</span>
          </div>
        </>
      )}
    </div>
  );
}

interface PartsProps {
  readonly parts: readonly (readonly [string, Json])[];
  readonly depth: number;
  readonly isIndex: boolean;
}

function Parts({ parts, depth, isIndex }: PartsProps) {
  const [count, setCount] = useState(partsStep);
  const left = parts.length - count;
  return (
    <div class="json-parts">
      {parts.slice(0, count).map(([name, part], index) => (
        <Node key={index} name={name} value={part} depth={depth} isIndex={isIndex} />
      ))}
      {left > 0 && (
        <button type="button" class="json-more" onClick={() => setCount(count + partsStep)}>
          {grouped(left)} more
        </button>
      )}
    </div>
  );
}

/** What a folded object or array says of itself. */
function glance(value: Json): string {
  const parts = partsOf(value);
  const text = parts.length <= 4 && parts.every(([, part]) => isLeaf(part)) ? compact(value) : "";
  return text !== "" && text.length <= 60
    ? text.slice(1, -1)
    : counted(parts.length, value.kind === "object" ? "member" : "item");
}

function Leaf({ value }: { readonly value: Extract<Json, { text: string }> }) {
  if (value.kind !== "string") return <span class={`json-${value.kind}`}>{value.text}</span>;
  return (
    <span class="json-string">
      "<LongText text={value.text} />"
    </span>
  );
}

/** A text that is long is shown in steps, which grow. */
export function LongText({ text, hasLines = false }: { text: string; hasLines?: boolean }) {
  const [shown, setShown] = useState(textMax);
  const left = text.length - shown;
  return (
    <>
      <Text hasLines={hasLines}>{left > 0 ? text.slice(0, shown) : text}</Text>
      {left > 0 && (
        <button type="button" class="json-more" onClick={() => setShown(shown * 10)}>
          … {grouped(left)} more characters
        </button>
      )}
    </>
  );
}
