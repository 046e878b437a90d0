// The form for a token, where the server asks who calls.

import { useState } from "preact/hooks";
import type { CallFailure } from "../wire/call-failure.ts";
import { hasToken, setToken } from "../wire/token.ts";
import { Icon } from "./icon.tsx";

export function SignIn({ failure }: { readonly failure?: CallFailure }) {
  const [token, enter] = useState("");
  const wasRefused = failure !== undefined && hasToken();
  const submit = (event: Event): void => {
    event.preventDefault();
    setToken(token.trim());
    enter("");
  };
  return (
    <form class="sign-in" onSubmit={submit}>
      <Icon name="key" />
      <h1>This server asks who calls</h1>
      <p id="token-help">
        Enter a token that <code>annals tokens create</code> has printed, or an access token of your
        issuer. It is kept in this tab until you close it.
      </p>
      {wasRefused && (
        <p class="form-error" role="alert">
          The token was refused: {failure.message}
        </p>
      )}
      <label for="token">Token</label>
      <div class="row">
        <input
          id="token"
          type="password"
          autocomplete="off"
          spellcheck={false}
          aria-describedby="token-help"
          value={token}
          onInput={({ currentTarget }) => enter(currentTarget.value)}
        />
        <button type="submit" class="button primary" disabled={token.trim() === ""}>
          Sign in
        </button>
      </div>
    </form>
  );
}
