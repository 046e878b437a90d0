// What is around every page: where one can go, the search, how the server is, the theme.

import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import type { GetInfoResponseJson } from "../../../src/gen/annals/v1/info_pb.js";
import { grouped, wordOf } from "../data/format.ts";
import { go, hashOf, type Place } from "../data/router.ts";
import { hasToken, setToken } from "../wire/token.ts";
import { useKeys, type Asked } from "./hooks.ts";
import { Icon } from "./icon.tsx";
import { KeyHelp } from "./key-help.tsx";
import { Search } from "./search.tsx";
import { sections } from "./sections.ts";
import { useTheme } from "./theme.ts";

interface ShellProps {
  readonly place: Place;
  readonly info: Asked<GetInfoResponseJson>;
  readonly children: ComponentChildren;
}

export function Shell({ place, info, children }: ShellProps) {
  const [isMenuOpen, setMenuOpen] = useState(false);
  const [theme, toggleTheme] = useTheme();
  const help = useRef<HTMLDialogElement>(null);
  const [section = ""] = place.path;
  const showHelp = (): void => help.current?.showModal();
  useSectionKeys();
  useKeys({ "?": showHelp });
  useEffect(() => setMenuOpen(false), [place]);
  return (
    <div class="shell">
      <a class="skip" href="#main" onClick={toMain}>
        Skip to the page
      </a>
      <header class="bar">
        <button
          type="button"
          class="icon-button menu"
          aria-label="Menu"
          aria-expanded={isMenuOpen}
          onClick={() => setMenuOpen(!isMenuOpen)}
        >
          <Icon name={isMenuOpen ? "close" : "menu"} />
        </button>
        <a class="brand" href="#/">
          <img src="/console/icon.svg" alt="" width="26" height="26" />
          Annals
        </a>
        <Search />
        <div class="bar-end">
          <Health info={info} />
          {hasToken() && (
            <button type="button" class="button small" onClick={() => setToken("")}>
              Sign out
            </button>
          )}
          <button
            type="button"
            class="icon-button wide-only"
            aria-label="Keys"
            title="Keys (?)"
            onClick={showHelp}
          >
            <Icon name="keyboard" />
          </button>
          <button
            type="button"
            class="icon-button"
            aria-label={theme === "dark" ? "Light theme" : "Dark theme"}
            title={theme === "dark" ? "Light theme" : "Dark theme"}
            onClick={toggleTheme}
          >
            <Icon name={theme === "dark" ? "sun" : "moon"} />
          </button>
        </div>
      </header>
      <nav class={isMenuOpen ? "side open" : "side"} aria-label="Console">
        {sections.map(({ path, label, icon }) => (
          <a
            key={path}
            href={hashOf(path === "" ? [] : [path])}
            aria-current={path === section ? "page" : undefined}
          >
            <Icon name={icon} />
            {label}
          </a>
        ))}
        <Version info={info.value} />
      </nav>
      <main id="main" tabIndex={-1}>
        {children}
      </main>
      <KeyHelp dialog={help} />
    </div>
  );
}

/** A link to `#main` would be the address of another page. */
function toMain(event: Event): void {
  event.preventDefault();
  document.querySelector<HTMLElement>("#main")?.focus();
}

/** `g` and then the letter of a section. */
function useSectionKeys(): void {
  const isAsked = useRef(false);
  const keys = Object.fromEntries(
    sections.map(({ key, path }) => [
      key,
      () => {
        if (key === "g" && !isAsked.current) {
          isAsked.current = true;
          setTimeout(() => (isAsked.current = false), 1_000);
          return;
        }
        if (isAsked.current) go(hashOf(path === "" ? [] : [path]));
        isAsked.current = false;
      },
    ]),
  );
  useKeys(keys);
}

function Health({ info: { value, failure } }: { readonly info: Asked<GetInfoResponseJson> }) {
  if (failure !== undefined && failure.code !== "unauthenticated") {
    return (
      <span class="badge bad" role="status">
        {failure.code === "unreachable" ? "not reachable" : failure.code.replaceAll("_", " ")}
      </span>
    );
  }
  if (value === undefined) return null;
  const { head, writeState } = value;
  const isGood = writeState === "WRITE_STATE_ACCEPTING" || writeState === "WRITE_STATE_FOLLOWING";
  return (
    <a
      class={`badge ${isGood ? "good" : "bad"}`}
      href="#/server"
      title="The position of the last event"
    >
      {isGood ? "" : `${wordOf(writeState, "WRITE_STATE_")} · `}
      {grouped(head)}
      <span class="wide-only"> events</span>
    </a>
  );
}

function Version({ info }: { readonly info: GetInfoResponseJson | undefined }) {
  if (info === undefined) return null;
  return (
    <p class="side-end">
      Annals {info.serverVersion}
      <br />
      {info.engine}, {info.durability === "DURABILITY_SYNCED" ? "synced" : "in memory"}
    </p>
  );
}
