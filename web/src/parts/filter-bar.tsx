// The parts of a query, to be added and taken away: types, tags, prefixes of streams.

import { useState } from "preact/hooks";
import type { Filter } from "../data/selection.ts";
import { visible } from "../data/visible.ts";
import { Icon } from "./icon.tsx";
import { Text } from "./text.tsx";

const kinds = [
  { name: "type", list: "types", label: "Type", hint: "OrderPlaced" },
  { name: "tag", list: "tags", label: "Tag", hint: "tenant:t1" },
  { name: "prefix", list: "prefixes", label: "Stream prefix", hint: "order-" },
] as const;

interface BarProps {
  readonly filter: Filter;
  readonly change: (filter: Filter) => void;
}

export function FilterBar({ filter, change }: BarProps) {
  const [chosen, choose] = useState<(typeof kinds)[number]>(kinds[0]);
  const [text, setText] = useState("");
  const add = (event: Event): void => {
    event.preventDefault();
    const list = filter[chosen.list];
    if (text !== "" && !list.includes(text)) change({ ...filter, [chosen.list]: [...list, text] });
    setText("");
  };
  return (
    <div class="filters">
      <form class="row" onSubmit={add}>
        <select
          aria-label="What to filter by"
          value={chosen.name}
          onChange={({ currentTarget }) =>
            choose(kinds.find(({ name }) => name === currentTarget.value) ?? kinds[0])
          }
        >
          {kinds.map(({ name, label }) => (
            <option key={name} value={name}>
              {label}
            </option>
          ))}
        </select>
        <input
          aria-label={chosen.label}
          placeholder={chosen.hint}
          spellcheck={false}
          value={text}
          onInput={({ currentTarget }) => setText(currentTarget.value)}
        />
        <button type="submit" class="button" disabled={text === ""}>
          Add filter
        </button>
      </form>
      {kinds.flatMap(({ list, label }) =>
        filter[list].map((value) => (
          <span key={`${list} ${value}`} class="chip">
            <span class="quiet">{label}</span> <Text>{value}</Text>
            <button
              type="button"
              aria-label={`Remove the filter ${label} ${visible(value)}`}
              onClick={() => {
                change({ ...filter, [list]: filter[list].filter((each) => each !== value) });
              }}
            >
              <Icon name="close" />
            </button>
          </span>
        )),
      )}
    </div>
  );
}
