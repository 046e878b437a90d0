// A table whose rows come in pages: what it shows while it waits, where it is empty, and for more.

import type { ComponentChildren } from "preact";
import { Failure, Loading } from "./states.tsx";
import type { Pages } from "./use-pages.ts";

interface ListProps {
  readonly pages: Pages<unknown>;
  readonly empty: ComponentChildren;
  readonly children: ComponentChildren;
  readonly more?: string;
}

export function PageList({ pages, empty, children, more = "More" }: ListProps) {
  const { items, isLoading, failure, hasMore, reload } = pages;
  if (items.length === 0) {
    if (failure !== undefined) return <Failure failure={failure} retry={reload} />;
    return isLoading ? <Loading /> : <>{empty}</>;
  }
  return (
    <>
      {children}
      {failure !== undefined && <Failure failure={failure} retry={pages.more} />}
      {hasMore && failure === undefined && (
        <button type="button" class="button more" disabled={isLoading} onClick={pages.more}>
          {isLoading ? "Reading…" : more}
        </button>
      )}
    </>
  );
}

interface ColumnProps<Key extends string> {
  readonly label: string;
  readonly by: Key;
  readonly sort: { readonly by: Key; readonly isDown: boolean };
  readonly change: (sort: { by: Key; isDown: boolean }) => void;
  readonly isNumber?: boolean;
  /** Left out where the page is narrow. */
  readonly isMinor?: boolean;
}

/** The head of a column that the rows can be sorted by. */
export function SortColumn<Key extends string>(props: ColumnProps<Key>) {
  const { label, by, sort, change, isNumber = false, isMinor = false } = props;
  const isSorted = sort.by === by;
  const direction = sort.isDown ? "descending" : "ascending";
  return (
    <th
      scope="col"
      class={`${isNumber ? "number" : ""} ${isMinor ? "minor" : ""}`}
      aria-sort={isSorted ? direction : "none"}
    >
      <button
        type="button"
        class="sort"
        onClick={() => change({ by, isDown: isSorted ? !sort.isDown : isNumber })}
      >
        {label}
        <span aria-hidden="true">{isSorted ? (sort.isDown ? " ↓" : " ↑") : ""}</span>
      </button>
    </th>
  );
}
