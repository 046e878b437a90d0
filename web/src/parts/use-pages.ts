// A list that comes in pages: the first at once, the others when they are asked for.

import { useCallback, useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { failureOf, isAborted, type CallFailure } from "../wire/call-failure.ts";
import { onTokenChange } from "../wire/token.ts";

export interface Pages<T> {
  readonly items: readonly T[];
  readonly isLoading: boolean;
  readonly failure: CallFailure | undefined;
  readonly hasMore: boolean;
  readonly more: () => void;
  readonly reload: () => void;
}

interface PageOf<T> {
  readonly items: readonly T[];
  /** Empty: there is no further page. */
  readonly next: string;
}

type Ask<T> = (token: string, signal: AbortSignal) => Promise<PageOf<T>>;

/** `everyMs`: the first page is read anew from time to time, until one goes on to the next. */
export function usePages<T>(
  asking: Ask<T>,
  inputs: readonly unknown[],
  everyMs?: number,
): Pages<T> {
  const key = JSON.stringify(inputs);
  const [items, setItems] = useState<readonly T[]>([]);
  const [next, setNext] = useState("");
  const [isLoading, setLoading] = useState(true);
  const [failure, setFailure] = useState<CallFailure>();
  const [round, setRound] = useState(0);
  const latest = useRef(asking);
  latest.current = asking;
  const abort = useRef<AbortController>(undefined);
  const isFirst = useRef(true);
  const isBusy = useRef(false);
  const load = useCallback((token: string, isSeen = true): void => {
    abort.current?.abort();
    const { signal } = (abort.current = new AbortController());
    isBusy.current = true;
    if (isSeen) setLoading(true);
    if (isSeen) setFailure(undefined);
    const ask = async (): Promise<void> => {
      try {
        const page = await latest.current(token, signal);
        if (signal.aborted) return;
        setItems((before) => (token === "" ? page.items : [...before, ...page.items]));
        setNext(page.next);
        setFailure(undefined);
      } catch (error) {
        if (isAborted(error) || signal.aborted) return;
        setFailure(failureOf(error));
      }
      isBusy.current = false;
      setLoading(false);
    };
    void ask();
  }, []);
  useLayoutEffect(() => {
    setItems([]);
    isFirst.current = true;
    load("");
    const again = (): void => {
      if (isFirst.current && !isBusy.current && !document.hidden) load("", false);
    };
    const timer = everyMs === undefined ? undefined : setInterval(again, everyMs);
    return () => {
      clearInterval(timer);
      abort.current?.abort();
    };
  }, [key, round, everyMs, load]);
  const reload = useCallback(() => setRound((before) => before + 1), []);
  useEffect(() => onTokenChange(reload), [reload]);
  const more = (): void => {
    isFirst.current = false;
    load(next);
  };
  return { items, isLoading, failure, hasMore: next !== "", more, reload };
}
