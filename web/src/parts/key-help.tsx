// The keys of the console.

import type { RefObject } from "preact";
import { sections } from "./sections.ts";

const others = [
  ["/", "Search"],
  ["j k", "Next, previous event"],
  ["Enter", "Open or close the event"],
  ["p", "Pause or resume the live events"],
  ["← →", "Event before, behind; version of a state"],
  ["?", "This list"],
] as const;

export function KeyHelp({ dialog }: { readonly dialog: RefObject<HTMLDialogElement | null> }) {
  return (
    <dialog ref={dialog} aria-labelledby="keys-title">
      <form method="dialog">
        <h2 id="keys-title">Keys</h2>
        <dl class="keys">
          {others.map(([key, what]) => (
            <div key={key}>
              <dt>
                <kbd>{key}</kbd>
              </dt>
              <dd>{what}</dd>
            </div>
          ))}
          {sections.map(({ key, label }) => (
            <div key={key}>
              <dt>
                <kbd>g {key}</kbd>
              </dt>
              <dd>{label}</dd>
            </div>
          ))}
        </dl>
        <button type="submit" class="button primary">
          Close
        </button>
      </form>
    </dialog>
  );
}
