// Events in each of the last seconds, as a chart that moves.

import { useEffect, useRef } from "preact/hooks";
import UPlot from "uplot";

const firstMs = 150;

interface ChartProps {
  /** One number for each second, the newest last. */
  readonly rates: () => readonly number[];
  readonly label: string;
  readonly height?: number;
}

export function RateChart({ rates, label, height = 110 }: ChartProps) {
  const place = useRef<HTMLDivElement>(null);
  const latest = useRef(rates);
  latest.current = rates;
  useEffect(() => {
    const element = place.current;
    if (element === null) return undefined;
    element.style.height = `${height}px`;
    let chart: UPlot | undefined;
    const draw = (): void => {
      if (document.hidden) return;
      const data = dataOf(latest.current());
      if (chart !== undefined) chart.setData(data);
      else chart = new UPlot(optionsOf(element, height), data, element);
    };
    // What people came for is drawn first.
    const first = setTimeout(draw, firstMs);
    const timer = setInterval(draw, 1_000);
    const resized = new ResizeObserver(() => {
      chart?.setSize({ width: element.clientWidth, height });
    });
    resized.observe(element);
    return () => {
      clearTimeout(first);
      clearInterval(timer);
      resized.disconnect();
      chart?.destroy();
    };
  }, [height]);
  return (
    <figure class="chart">
      <figcaption>Events per second</figcaption>
      <div role="img" aria-label={label} ref={place} />
    </figure>
  );
}

/** Seconds are counted from now: 0 is now, -60 a minute ago. */
function dataOf(rates: readonly number[]): UPlot.AlignedData {
  return [rates.map((_, index) => index - rates.length + 1), [...rates]];
}

/** Colours are those of the theme, and are looked up each time something is drawn. */
function optionsOf(element: HTMLElement, height: number): UPlot.Options {
  const colour = (name: string) => () => {
    element.style.color = `var(${name})`;
    return getComputedStyle(element).color;
  };
  const axis = {
    stroke: colour("--quiet"),
    font: "11px system-ui, sans-serif",
    grid: { stroke: colour("--line"), width: 1 },
    ticks: { show: false },
  };
  return {
    width: element.clientWidth,
    height,
    legend: { show: false },
    cursor: { show: false },
    padding: [8, 24, 0, 0],
    scales: { x: { time: false }, y: { range: (_, __, max) => [0, Math.max(5, max * 1.1)] } },
    axes: [
      { ...axis, size: 24, values: (_, seconds) => seconds.map(secondText) },
      { ...axis, size: 44, values: (_, counts) => counts.map(countText), space: 30 },
    ],
    series: [
      {},
      {
        ...(UPlot.paths.stepped && { paths: UPlot.paths.stepped({ align: -1 }) }),
        stroke: colour("--accent"),
        fill: colour("--accent-soft"),
        width: 1.5,
        points: { show: false },
      },
    ],
  };
}

function secondText(second: number): string {
  return second === 0 ? "now" : `${second} s`;
}

function countText(count: number): string {
  return count >= 1_000 ? `${count / 1_000}k` : `${count}`;
}
