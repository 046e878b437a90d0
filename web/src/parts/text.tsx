// Text that others wrote. Everything that comes from events passes here: it is text and never
// markup, keeps its direction to itself, and hides nothing.

import type { ComponentChild } from "preact";
import { segmentsOf } from "../data/visible.ts";

interface TextProps {
  readonly children: string;
  /** Line breaks and tabs are layout. */
  readonly hasLines?: boolean;
}

export function Text({ children, hasLines = false }: TextProps) {
  return <bdi>{shown(children, hasLines)}</bdi>;
}

const visibleAscii = /^[\x20-\x7e]*$/;

/** What stands in a `bdi`. Lists of hundreds of rows do without a component for each text. */
export function shown(text: string, hasLines = false): ComponentChild {
  if (visibleAscii.test(text)) return text;
  return segmentsOf(text, hasLines).map((segment, index) =>
    segment.isHidden ? (
      <span key={index} class="hidden-character" title="a character that cannot be seen">
        {segment.text}
      </span>
    ) : (
      segment.text
    ),
  );
}
