// Text that others wrote. Everything that comes from events passes here: it is text and never
// markup, keeps its direction to itself, and hides nothing.

import { segmentsOf } from "../data/visible.ts";

interface TextProps {
  readonly children: string;
  /** Line breaks and tabs are layout. */
  readonly hasLines?: boolean;
}

export function Text({ children, hasLines = false }: TextProps) {
  return (
    <bdi>
      {segmentsOf(children, hasLines).map(({ text, isHidden }, index) =>
        isHidden ? (
          <span key={index} class="hidden-character" title="a character that cannot be seen">
            {text}
          </span>
        ) : (
          text
        ),
      )}
    </bdi>
  );
}
