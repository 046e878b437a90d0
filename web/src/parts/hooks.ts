// What pages share: where they are, what they have asked the server, time, and keys.

import { useCallback, useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { placeOf, type Place } from "../data/router.ts";
import { failureOf, isAborted, type CallFailure } from "../wire/call-failure.ts";
import { onTokenChange } from "../wire/token.ts";

export function usePlace(): Place {
  const [place, setPlace] = useState(() => placeOf(location.hash));
  useEffect(() => {
    const changed = (): void => setPlace(placeOf(location.hash));
    addEventListener("hashchange", changed);
    return () => removeEventListener("hashchange", changed);
  }, []);
  return place;
}

export interface Asked<T> {
  /** The newest answer; that of other inputs is not kept. */
  readonly value: T | undefined;
  readonly failure: CallFailure | undefined;
  readonly isLoading: boolean;
  readonly reload: () => void;
}

interface Outcome<T> {
  readonly inputs: string;
  readonly value: T | undefined;
  readonly failure: CallFailure | undefined;
}

/**
 * Asks, again where `inputs` change, and where the token does. With `everyMs` also from time to time
 * while the page is in view; then a failure keeps the last answer.
 */
export function useAsk<T>(
  ask: (signal: AbortSignal) => Promise<T>,
  inputs: readonly unknown[],
  everyMs?: number,
): Asked<T> {
  const key = JSON.stringify(inputs);
  const [outcome, setOutcome] = useState<Outcome<T>>();
  const [isLoading, setLoading] = useState(true);
  const [round, setRound] = useState(0);
  const reload = useCallback(() => setRound((before) => before + 1), []);
  const latest = useRef(ask);
  latest.current = ask;
  // Before the browser draws: an effect would ask after it has.
  useLayoutEffect(() => {
    const abort = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const once = async (): Promise<void> => {
      setLoading(true);
      const outcomeNow = await latest.current(abort.signal).then(
        (value) => ({ inputs: key, value, failure: undefined }),
        (error: unknown) => (isAborted(error) ? undefined : failureOf(error)),
      );
      if (abort.signal.aborted || outcomeNow === undefined) return;
      setLoading(false);
      if (outcomeNow instanceof Error) {
        const failure = outcomeNow;
        setOutcome((before) => ({
          inputs: key,
          value: before?.inputs === key ? before.value : undefined,
          failure,
        }));
      } else setOutcome(outcomeNow);
      if (everyMs !== undefined) timer = setTimeout(() => void whenSeen(), everyMs);
    };
    const whenSeen = async (): Promise<void> => {
      if (document.hidden) {
        timer = setTimeout(() => void whenSeen(), everyMs);
        return;
      }
      await once();
    };
    void once();
    return () => {
      abort.abort();
      clearTimeout(timer);
    };
  }, [key, round, everyMs]);
  useEffect(() => onTokenChange(reload), [reload]);
  const present = outcome?.inputs === key ? outcome : undefined;
  return { value: present?.value, failure: present?.failure, isLoading, reload };
}

/** The time now, for texts such as "3 s ago". */
export function useNow(everyMs = 1_000): number {
  const [now, setNow] = useState(() => Date.now());
  useEffect(() => {
    const timer = setInterval(() => {
      if (!document.hidden) setNow(Date.now());
    }, everyMs);
    return () => clearInterval(timer);
  }, [everyMs]);
  return now;
}

/** Keys, by `KeyboardEvent.key`, while nobody writes. */
export function useKeys(keys: Readonly<Record<string, () => void>>): void {
  const latest = useRef(keys);
  latest.current = keys;
  useEffect(() => {
    const pressed = (event: KeyboardEvent): void => {
      const { target, key } = event;
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      if (target instanceof Element && target.closest("input, textarea, select, dialog")) return;
      const action = latest.current[key];
      if (action === undefined) return;
      event.preventDefault();
      action();
    };
    addEventListener("keydown", pressed);
    return () => removeEventListener("keydown", pressed);
  }, []);
}

/** A value that changes only when it has stayed the same for a while. */
export function useSettled<T>(value: T, ms: number): T {
  const [settled, setSettled] = useState(value);
  useEffect(() => {
    const timer = setTimeout(() => setSettled(value), ms);
    return () => clearTimeout(timer);
  }, [value, ms]);
  return settled;
}
