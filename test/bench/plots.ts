/** The plots of `bench:peers`: how fast, and how long at each percentile. Pure. */
import { barPlot, type Line, linePlot, ninesAxis, powersOfTenAxis } from './plot.ts';
import { byLoad, byMix, loadName, type Summary } from './report.ts';
import { storeName } from './tables.ts';

export interface Plot {
  /** Of the file, without its ending. */
  readonly name: string;
  readonly caption: string;
  readonly svg: string;
}

const colours: Readonly<Record<string, string>> = {
  'cartwheel, direct': '#1e8449',
  'cartwheel, router': '#82c99d',
  etcd: '#2471a3',
  cassandra: '#c0392b',
  'cassandra-batch': '#e59866',
};
const otherColour = '#555';

/** For each mix: bars of the closed loops, and the latencies of each load. */
export function plotsOf(summaries: readonly Summary[]): Plot[] {
  const mixes = [...byMix(summaries)];
  return mixes.flatMap(([mix, ofMix]) => {
    const prefix = mixes.length === 1 ? 'peers' : `peers-${slug(mix)}`;
    const loads = byLoad(ofMix);
    const closed = loads.filter(([first]) => first?.ratePerSecond === 0);
    const bars = figures.map(({ name, title, of }) => ({
      name: `${prefix}-${name}`,
      caption: `${title}: ${mix}`,
      svg: barPlot(
        closed.map((group) => ({
          title: groupName(group),
          bars: group.map((summary) => ({ name: storeName(summary), colour: colourOf(summary), value: of(summary) })),
        })),
        title,
      ),
    }));
    const latencies = loads.map((group) => ({
      name: `${prefix}-latency-${slug(groupName(group))}`,
      caption: `Latency by percentile: ${groupName(group)}; ${mix}`,
      svg: latencyPlot(group),
    }));
    return [...(closed.length === 0 ? [] : bars), ...latencies];
  });
}

const figures = [
  { name: 'throughput', title: 'operations a second', of: (s: Summary) => s.operationsPerSecond.mean },
  {
    name: 'efficiency',
    title: 'operations per server CPU-second',
    of: (s: Summary) => s.operationsPerServerCpuSecond.mean,
  },
];

function latencyPlot(group: readonly Summary[]): string {
  const lines = group.flatMap((summary): Line[] =>
    (['writes', 'reads'] as const).flatMap((what) => {
      const points = summary[what].curve.map(({ percentile, ms }) => ({ x: percentile, y: ms }));
      if (summary[what].count === 0) return [];
      return [{ name: `${storeName(summary)}: ${what}`, colour: colourOf(summary), dashed: what === 'reads', points }];
    }),
  );
  const points = lines.flatMap((line) => line.points);
  const nines = Math.max(1, Math.ceil(Math.max(...points.map(({ x }) => -Math.log10(1 - x / 100)))));
  const milliseconds = points.map(({ y }) => y);
  return linePlot(lines, ninesAxis('percentile', nines), powersOfTenAxis('latency, ms', milliseconds), 'top left');
}

function groupName(group: readonly Summary[]): string {
  return loadName(group[0] as Summary);
}

function colourOf(summary: Summary): string {
  return colours[storeName(summary)] ?? otherColour;
}

function slug(text: string): string {
  return text
    .toLowerCase()
    .replaceAll('%', '-percent')
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-|-$/g, '');
}
