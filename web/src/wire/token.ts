// The token that the user has entered. It is kept for this tab until it is closed, and sent to the
// server that this page comes from and nowhere else.

const key = "annals.token";
const listeners = new Set<() => void>();

export function tokenHeader(): Readonly<Record<string, string>> {
  const token = sessionStorage.getItem(key);
  return token === null ? {} : { authorization: `Bearer ${token}` };
}

export function hasToken(): boolean {
  return sessionStorage.getItem(key) !== null;
}

/** Empty: forgets it. */
export function setToken(token: string): void {
  if (token === "") sessionStorage.removeItem(key);
  else sessionStorage.setItem(key, token);
  for (const listener of listeners) listener();
}

/** Answers how to stop. */
export function onTokenChange(listener: () => void): () => void {
  listeners.add(listener);
  return () => void listeners.delete(listener);
}
