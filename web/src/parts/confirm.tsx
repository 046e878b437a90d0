// Asks before something is changed, and says why it could not be.

import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { failureOf, type CallFailure } from "../wire/call-failure.ts";
import { Failure } from "./states.tsx";

interface ConfirmProps {
  readonly title: string;
  readonly action: string;
  readonly isDangerous: boolean;
  readonly confirm: () => Promise<void>;
  readonly close: () => void;
  readonly children: ComponentChildren;
}

export function Confirm({ title, action, isDangerous, confirm, close, children }: ConfirmProps) {
  const dialog = useRef<HTMLDialogElement>(null);
  const [isUnderway, setUnderway] = useState(false);
  const [failure, setFailure] = useState<CallFailure>();
  useEffect(() => dialog.current?.showModal(), []);
  const submit = async (event: Event): Promise<void> => {
    event.preventDefault();
    setUnderway(true);
    setFailure(undefined);
    try {
      await confirm();
    } catch (error) {
      setFailure(failureOf(error));
      setUnderway(false);
    }
  };
  return (
    <dialog ref={dialog} onClose={close} aria-labelledby="confirm-title">
      <form onSubmit={(event) => void submit(event)}>
        <h2 id="confirm-title">{title}</h2>
        <p>{children}</p>
        {failure !== undefined && <Failure failure={failure} />}
        <div class="row">
          <button type="button" class="button" onClick={close}>
            Cancel
          </button>
          <button
            type="submit"
            class={isDangerous ? "button danger" : "button primary"}
            disabled={isUnderway}
          >
            {action}
          </button>
        </div>
      </form>
    </dialog>
  );
}
