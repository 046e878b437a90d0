// The icons, drawn with lines of the text's colour. They are decoration: labels say the same.

const paths = {
  overview: "M4 13h6V4H4zM14 20h6v-9h-6zM14 4v4h6V4zM4 20h6v-4H4z",
  events: "M8 6h12M8 12h12M8 18h12M4 6h.01M4 12h.01M4 18h.01",
  streams:
    "M4 7c4-4 7 4 11 0 2-2 4-1 5 0M4 12c4-4 7 4 11 0 2-2 4-1 5 0M4 17c4-4 7 4 11 0 2-2 4-1 5 0",
  types: "M3 11V4h7l10.5 10.5-7 7zM7.5 8h.01",
  groups:
    "M9 11a3 3 0 1 0 0-6 3 3 0 0 0 0 6M3 19c.5-3 3-5 6-5s5.500 2 6 5M16 5.500a3 3 0 0 1 0 5M17.500 14c2 .7 3.200 2.500 3.500 5",
  checkpoints: "M6 21V4h12l-2.500 4L18 12H6",
  lifecycles: "M5 7h14M10 7V4h4v3M7 7l1 13h8l1-13M10.500 11v5M13.500 11v5",
  server: "M4 4h16v6H4zM4 14h16v6H4zM8 7h.01M8 17h.01",
  search: "M10.500 17a6.500 6.500 0 1 0 0-13 6.500 6.500 0 0 0 0 13M15.500 15.500 20 20",
  copy: "M9 9h11v11H9zM15 9V4H4v11h5",
  link: "M10 14a4 4 0 0 0 6 .5l3-3a4 4 0 0 0-6-5.500l-1 1M14 10a4 4 0 0 0-6-.5l-3 3a4 4 0 0 0 6 5.500l1-1",
  pause: "M8 5v14M16 5v14",
  play: "M7 5l12 7-12 7z",
  check: "M5 12.500l4.500 4.500L19 7",
  close: "M6 6l12 12M18 6L6 18",
  menu: "M4 7h16M4 12h16M4 17h16",
  sun: "M12 16a4 4 0 1 0 0-8 4 4 0 0 0 0 8M12 3v1.500M12 19.500V21M3 12h1.500M19.500 12H21M5.600 5.600l1 1M17.400 17.400l1 1M18.400 5.600l-1 1M6.600 17.400l-1 1",
  moon: "M20 14.500A8 8 0 0 1 9.500 4 8 8 0 1 0 20 14.500",
  key: "M15 9a4 4 0 1 1-4-4 4 4 0 0 1 4 4M13.500 12 20 18.500M17 15.500l2-2",
  warning: "M12 4 2.500 20h19zM12 10v4.500M12 17.300h.01",
  empty: "M4 13l3-8h10l3 8v6H4zM4 13h5l1 2.500h4l1-2.500h5",
  chevron: "M9 6l6 6-6 6",
  keyboard: "M3 7h18v10H3zM7 10.500h.01M10.500 10.500h.01M14 10.500h.01M17 10.500h.01M8 14h8",
} as const;

export type IconName = keyof typeof paths;

export function Icon({ name }: { readonly name: IconName }) {
  return (
    <svg class="icon" viewBox="0 0 24 24" aria-hidden="true" focusable="false">
      <path d={paths[name]} />
    </svg>
  );
}
