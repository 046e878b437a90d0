// A list that comes in pages: the first at once, the others when they are asked for.

import { useCallback, useEffect, useRef, useState } from "preact/hooks";
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

export function usePages<T>(asking: Ask<T>, inputs: readonly unknown[]): Pages<T> {
  const key = JSON.stringify(inputs);
  const [items, setItems] = useState<readonly T[]>([]);
  const [next, setNext] = useState("");
  const [isLoading, setLoading] = useState(true);
  const [failure, setFailure] = useState<CallFailure>();
  const [round, setRound] = useState(0);
  const latest = useRef(asking);
  latest.current = asking;
  const abort = useRef<AbortController>(undefined);
  const load = useCallback((token: string): void => {
    abort.current?.abort();
    const { signal } = (abort.current = new AbortController());
    setLoading(true);
    setFailure(undefined);
    const ask = async (): Promise<void> => {
      try {
        const page = await latest.current(token, signal);
        if (signal.aborted) return;
        setItems((before) => (token === "" ? page.items : [...before, ...page.items]));
        setNext(page.next);
      } catch (error) {
        if (isAborted(error) || signal.aborted) return;
        setFailure(failureOf(error));
      }
      setLoading(false);
    };
    void ask();
  }, []);
  useEffect(() => {
    setItems([]);
    load("");
    return () => abort.current?.abort();
  }, [key, round, load]);
  const reload = useCallback(() => setRound((before) => before + 1), []);
  useEffect(() => onTokenChange(reload), [reload]);
  return { items, isLoading, failure, hasMore: next !== "", more: () => load(next), reload };
}
