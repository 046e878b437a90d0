// Buttons that copy a text, and menus of commands to copy.

import { useState } from "preact/hooks";
import { Icon, type IconName } from "./icon.tsx";

/** Works without the clipboard's API, too, which browsers have on secure pages only. */
async function copyText(text: string): Promise<void> {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = document.createElement("textarea");
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
}

interface CopyProps {
  readonly text: string | (() => string);
  /** What is copied: "the event's id". */
  readonly label: string;
  readonly icon?: IconName;
  readonly children?: string;
}

export function CopyButton({ text, label, icon = "copy", children }: CopyProps) {
  const [isDone, setDone] = useState(false);
  const copy = async (): Promise<void> => {
    await copyText(typeof text === "function" ? text() : text);
    setDone(true);
    setTimeout(() => setDone(false), 1_500);
  };
  const name = isDone ? "Copied" : `Copy ${label}`;
  return (
    <button
      type="button"
      class={children === undefined ? "icon-button" : "button small"}
      title={name}
      aria-label={children === undefined ? name : undefined}
      onClick={() => void copy()}
    >
      <Icon name={isDone ? "check" : icon} />
      {children !== undefined && (isDone ? "Copied" : children)}
    </button>
  );
}

export interface Snippet {
  readonly name: string;
  readonly text: string;
}

/** Commands and code that ask for what the page shows. */
export function Snippets({ snippets }: { readonly snippets: readonly Snippet[] }) {
  const [chosen, choose] = useState(0);
  const { text = "" } = snippets[chosen] ?? {};
  return (
    <details class="snippets">
      <summary>
        <Icon name="copy" /> Copy as…
      </summary>
      <div class="snippet-box">
        <div class="tabs small" role="group" aria-label="Language">
          {snippets.map(({ name }, index) => (
            <button
              key={name}
              type="button"
              aria-pressed={index === chosen}
              onClick={() => choose(index)}
            >
              {name}
            </button>
          ))}
          <CopyButton text={text} label={`the ${snippets[chosen]?.name} text`} />
        </div>
        <pre tabIndex={0}>{text}</pre>
      </div>
    </details>
  );
}
