// Light or dark: as the system is, or as the user has chosen.

import { useEffect, useState } from "preact/hooks";

type Theme = "light" | "dark";
const key = "annals.theme";

export function useTheme(): [Theme, () => void] {
  const [chosen, choose] = useState(() => localStorage.getItem(key) as Theme | null);
  const system = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
  const theme = chosen ?? system;
  useEffect(() => {
    if (chosen === null) delete document.documentElement.dataset["theme"];
    else document.documentElement.dataset["theme"] = chosen;
  }, [chosen]);
  const toggle = (): void => {
    const next = theme === "dark" ? "light" : "dark";
    localStorage.setItem(key, next);
    choose(next);
  };
  return [theme, toggle];
}
