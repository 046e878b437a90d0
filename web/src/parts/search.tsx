// One field to find a stream, an event by its position, or an event by its id.

import { useEffect, useRef, useState } from "preact/hooks";
import { findById } from "../data/find-event.ts";
import { eventHash, go, hashOf, streamHash } from "../data/router.ts";
import { api } from "../wire/api.ts";
import { failureOf } from "../wire/call-failure.ts";
import { useKeys, useSettled } from "./hooks.ts";
import { Icon } from "./icon.tsx";
import { Text } from "./text.tsx";

const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;
const suggestionsMax = 8;
const notFound = "No event has this id";

export function Search() {
  const [text, setText] = useState("");
  const [remark, setRemark] = useState("");
  const [isOpen, setOpen] = useState(false);
  const field = useRef<HTMLInputElement>(null);
  const names = useSuggestions(text);
  useKeys({ "/": () => field.current?.focus() });
  const leave = (hash: string): void => {
    go(hash);
    setText("");
    setRemark("");
    setOpen(false);
    field.current?.blur();
  };
  const submit = async (event: Event): Promise<void> => {
    event.preventDefault();
    const wanted = text.trim();
    if (wanted === "") return;
    if (/^[1-9][\d,]*$/.test(wanted)) return leave(eventHash(wanted.replaceAll(",", "")));
    if (!uuid.test(wanted)) return leave(await placeOfName(text));
    setRemark("Looking…");
    try {
      const found = await findById(wanted.toLowerCase(), new AbortController().signal);
      if (found === undefined) setRemark(notFound);
      else leave(eventHash(found.position));
    } catch (error) {
      setRemark(failureOf(error).message);
    }
  };
  return (
    <form
      class="search"
      role="search"
      onSubmit={(event) => void submit(event)}
      onFocusOut={({ currentTarget, relatedTarget }) => {
        if (!currentTarget.contains(relatedTarget as Node | null)) setOpen(false);
      }}
    >
      <Icon name="search" />
      <input
        ref={field}
        type="search"
        aria-label="Find a stream, a position, or an event's id"
        placeholder="Stream, position or event id"
        spellcheck={false}
        autocomplete="off"
        value={text}
        onFocus={() => setOpen(true)}
        onKeyDown={({ key }) => {
          if (key === "Escape") field.current?.blur();
        }}
        onInput={({ currentTarget }) => {
          setText(currentTarget.value);
          setRemark("");
          setOpen(true);
        }}
      />
      <kbd aria-hidden="true">/</kbd>
      <div
        class="suggestions"
        role="status"
        hidden={!isOpen || (names.length === 0 && remark === "")}
      >
        {remark !== "" && <p class="quiet">{remark}</p>}
        {names.map((name) => (
          <a
            key={name}
            href={streamHash(name)}
            onClick={(event) => {
              event.preventDefault();
              leave(streamHash(name));
            }}
          >
            <Icon name="streams" />
            <Text>{name}</Text>
          </a>
        ))}
      </div>
    </form>
  );
}

function useSuggestions(text: string): readonly string[] {
  const [names, setNames] = useState<readonly string[]>([]);
  const settled = useSettled(text, 150);
  useEffect(() => {
    const abort = new AbortController();
    if (settled === "") return setNames([]);
    api.streams({ prefix: settled, pageSize: suggestionsMax }, abort.signal).then(
      ({ streams = [] }) => setNames(streams.map(({ stream = "" }) => stream)),
      // The page that is shown says what is wrong.
      () => setNames([]),
    );
    return () => abort.abort();
  }, [settled]);
  return text === "" ? [] : names;
}

/** The stream of that name, or those whose names begin with it. */
async function placeOfName(name: string): Promise<string> {
  const exact = await api.stream(name).catch(() => undefined);
  return exact === undefined ? hashOf(["streams"], [["prefix", name]]) : streamHash(name);
}
