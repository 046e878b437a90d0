// What a page shows while it waits, where there is nothing, and where a call failed.

import type { ComponentChildren } from "preact";
import type { CallFailure } from "../wire/call-failure.ts";
import { Icon, type IconName } from "./icon.tsx";
import { SignIn } from "./sign-in.tsx";
import { Text } from "./text.tsx";
import type { Asked } from "./hooks.ts";

export function Loading({ label = "Loading", rows = 6 }: { label?: string; rows?: number }) {
  return (
    <div class="loading" role="status">
      <span class="for-readers">{label}…</span>
      {Array.from({ length: rows }, (_, index) => (
        <div key={index} class="skeleton" aria-hidden="true" />
      ))}
    </div>
  );
}

interface EmptyProps {
  readonly title: string;
  readonly icon?: IconName;
  readonly children?: ComponentChildren;
}

export function Empty({ title, icon = "empty", children }: EmptyProps) {
  return (
    <div class="empty">
      <Icon name={icon} />
      <h2>{title}</h2>
      {children}
    </div>
  );
}

const titles: Readonly<Record<string, string>> = {
  unreachable: "The server does not answer",
  permission_denied: "You may not see this",
  not_found: "There is nothing of that name",
  unavailable: "The server cannot answer now",
  data_loss: "Damaged data is not shown",
  out_of_range: "There is nothing there yet",
};

export function Failure({ failure, retry }: { failure: CallFailure; retry?: () => void }) {
  const { code, reason, message, metadata } = failure;
  if (code === "unauthenticated") return <SignIn failure={failure} />;
  const isHistory = reason === "EPOCH_MISMATCH";
  const title = isHistory ? "This link is of another history of the store" : titles[code];
  const permission = metadata.get("permission");
  const scope = metadata.get("scope");
  return (
    <div class="failure" role="alert">
      <Icon name="warning" />
      <div>
        <h2>{title ?? "That did not work"}</h2>
        <p>
          <Text>{message}</Text>
        </p>
        {permission !== undefined && (
          <p>
            It needs the permission <code>{permission}</code>
            {scope === "*" && " for everything"}
            {scope !== undefined && scope !== "*" && (
              <>
                {" "}
                for <code>{scope}</code>
              </>
            )}
            .
          </p>
        )}
        {isHistory && <p>The store was restored or lost events since. Look for the event anew.</p>}
        <p class="quiet">
          <code>{reason === "" ? code : reason}</code>
          {retry !== undefined && (
            <button type="button" class="button" onClick={retry}>
              Try again
            </button>
          )}
        </p>
      </div>
    </div>
  );
}

interface AnswerProps<T> {
  readonly asked: Asked<T>;
  readonly rows?: number;
  readonly children: (value: T) => ComponentChildren;
}

/** The answer once it is there; a failure, or that it is waited for. */
export function Answer<T>({ asked, rows = 6, children }: AnswerProps<T>) {
  const { value, failure, reload } = asked;
  if (value !== undefined) {
    return (
      <>
        {failure !== undefined && <Failure failure={failure} retry={reload} />}
        {children(value)}
      </>
    );
  }
  if (failure !== undefined) return <Failure failure={failure} retry={reload} />;
  return <Loading rows={rows} />;
}
