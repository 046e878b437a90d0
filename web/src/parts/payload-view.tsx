// A payload: JSON as a tree or as it was sent, text, or bytes in hexadecimal.

import { useMemo, useState } from "preact/hooks";
import { bytesText, grouped } from "../data/format.ts";
import { payloadOf, type Payload } from "../data/payload.ts";
import { CopyButton } from "./copy.tsx";
import { JsonTree, LongText } from "./json-tree.tsx";

type Look = "tree" | "text" | "hex";
const names: Readonly<Record<Look, string>> = { tree: "JSON", text: "As sent", hex: "Bytes" };
const looksOf: Readonly<Record<Payload["kind"], readonly Look[]>> = {
  empty: [],
  json: ["tree", "text", "hex"],
  text: ["text", "hex"],
  bytes: ["hex"],
};

interface PayloadProps {
  readonly data: string;
  readonly contentType: string;
}

export function PayloadView({ data, contentType }: PayloadProps) {
  const payload = useMemo(() => payloadOf(data, contentType), [data, contentType]);
  const looks = looksOf[payload.kind];
  const [chosen, choose] = useState<Look>();
  const look = chosen !== undefined && looks.includes(chosen) ? chosen : looks[0];
  if (payload.kind === "empty" || look === undefined) return <p class="quiet">No payload.</p>;
  const { bytes } = payload;
  return (
    <div class="payload">
      <div class="payload-bar">
        {looks.length > 1 && (
          <div class="tabs small" role="group" aria-label="How to show the payload">
            {looks.map((each) => (
              <button
                key={each}
                type="button"
                aria-pressed={each === look}
                onClick={() => choose(each)}
              >
                {names[each]}
              </button>
            ))}
          </div>
        )}
        <span class="quiet">
          {contentType} · {bytesText(bytes.length)}
        </span>
        <CopyButton
          label="the payload"
          text={() => (payload.kind === "bytes" ? hexLines(bytes, 0, bytes.length) : payload.text)}
        />
      </div>
      {look === "tree" && payload.kind === "json" && <JsonTree value={payload.value} />}
      {look === "text" && payload.kind !== "bytes" && (
        <pre class="payload-text" tabIndex={0}>
          <LongText text={payload.text} hasLines />
        </pre>
      )}
      {look === "hex" && <Hex bytes={bytes} />}
    </div>
  );
}

const hexStep = 1_024;

function Hex({ bytes }: { readonly bytes: Uint8Array }) {
  const [shown, setShown] = useState(hexStep);
  const left = bytes.length - shown;
  return (
    <>
      <pre class="payload-text hex" tabIndex={0}>
        {hexLines(bytes, 0, Math.min(shown, bytes.length))}
      </pre>
      {left > 0 && (
        <button type="button" class="json-more" onClick={() => setShown(shown + 8 * hexStep)}>
          … {grouped(left)} more bytes
        </button>
      )}
    </>
  );
}

/** Sixteen bytes a line: the offset, the bytes, and what of them is printable ASCII. */
function hexLines(bytes: Uint8Array, start: number, end: number): string {
  const lines: string[] = [];
  for (let at = start; at < end; at += 16) {
    const row = [...bytes.subarray(at, Math.min(at + 16, end))];
    const pairs = row.map((byte) => byte.toString(16).padStart(2, "0"));
    const hex = `${pairs.slice(0, 8).join(" ")}  ${pairs.slice(8).join(" ")}`.padEnd(48);
    const ascii = row.map((byte) => (byte > 31 && byte < 127 ? String.fromCharCode(byte) : "."));
    lines.push(`${at.toString(16).padStart(8, "0")}  ${hex}  ${ascii.join("")}`);
  }
  return lines.join("\n");
}
