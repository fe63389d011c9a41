/** From what the generator measured, over all rounds, to the tables that people read. Pure. */
import { decodeFromCompressedBase64, type Histogram } from 'hdr-histogram-js';
import type { CaseReport, LoadCase } from './generator.ts';

/** One case of one store, all rounds together. */
export interface Summary extends LoadCase {
  readonly store: string;
  readonly operationsPerSecond: Spread;
  readonly operationsPerServerCpuSecond: Spread;
  readonly reads: Percentiles;
  readonly writes: Percentiles;
  /** How many values a read returned on average: more than 1 where there are siblings. */
  readonly valuesPerRead: number;
  readonly errors: number;
  readonly notBegun: number;
}

/** A figure over all rounds, and the lowest and highest of a single one. */
export interface Spread {
  readonly mean: number;
  readonly low: number;
  readonly high: number;
}

/** Milliseconds, of the latencies of all rounds together. */
export interface Percentiles {
  readonly count: number;
  readonly p50: number;
  readonly p99: number;
  readonly p999: number;
  readonly max: number;
}

/** `reports` are those of one case, one a round. */
export function summarize(store: string, reports: readonly CaseReport[]): Summary {
  const [first] = reports;
  if (first === undefined) throw new RangeError('a summary wants at least one round, saw 0');
  const rounds = reports.map((report) => {
    const reads = decodeFromCompressedBase64(report.reads);
    const writes = decodeFromCompressedBase64(report.writes);
    const cpuSeconds = sum(Object.values(report.serverCpuSeconds));
    return { reads, writes, operations: reads.totalCount + writes.totalCount, seconds: report.seconds, cpuSeconds };
  });
  const reads = merged(rounds.map((round) => round.reads));
  const writes = merged(rounds.map((round) => round.writes));
  return {
    store,
    path: first.path,
    workers: first.workers,
    ratePerSecond: first.ratePerSecond,
    operationsPerSecond: spread(rounds.map((round) => [round.operations, round.seconds])),
    operationsPerServerCpuSecond: spread(rounds.map((round) => [round.operations, round.cpuSeconds])),
    reads: percentiles(reads),
    writes: percentiles(writes),
    valuesPerRead: sum(reports.map((report) => report.valuesRead)) / reads.totalCount,
    errors: sum(reports.map((report) => report.errors)),
    notBegun: sum(reports.map((report) => report.notBegun)),
  };
}

/** A row a case, those of one load beside each other. */
export function figuresTable(summaries: readonly Summary[]): string {
  return markdown(
    [
      'load',
      'store',
      'ops/s',
      'ops per server CPU-s',
      'read p50 / p99 / p99.9 / max, ms',
      'write p50 / p99 / p99.9 / max, ms',
      'values a read',
      'errors',
    ],
    byLoad(summaries)
      .flat()
      .map((summary) => [
        loadName(summary),
        storeName(summary),
        spreadText(summary.operationsPerSecond),
        spreadText(summary.operationsPerServerCpuSecond),
        percentilesText(summary.reads),
        percentilesText(summary.writes),
        summary.reads.count === 0 ? '–' : summary.valuesPerRead.toFixed(2),
        errorsText(summary),
      ]),
  );
}

/** What is a multiple of what; empty where only one store was measured by one path. */
export function ratiosTable(summaries: readonly Summary[]): string {
  const rows = byLoad(summaries).flatMap((group) => {
    const find = (path: string) => group.find((summary) => summary.path === path);
    const [direct, router, etcd] = [find('direct'), find('router'), find('default')];
    const pairs: readonly (readonly [Summary | undefined, Summary | undefined])[] = [
      [direct, etcd],
      [router, etcd],
      [router, direct],
    ];
    return pairs.flatMap(([a, b]) => (a === undefined || b === undefined ? [] : [ratioRow(a, b)]));
  });
  if (rows.length === 0) return '';
  return markdown(['load', 'ratio', 'ops/s', 'ops per server CPU-s', 'read p50, p99.9', 'write p50, p99.9'], rows);
}

function ratioRow(a: Summary, b: Summary): string[] {
  const ratio = (x: number, y: number) => `${significant(x / y)}×`;
  return [
    loadName(a),
    `${storeName(a)} : ${storeName(b)}`,
    ratio(a.operationsPerSecond.mean, b.operationsPerSecond.mean),
    ratio(a.operationsPerServerCpuSecond.mean, b.operationsPerServerCpuSecond.mean),
    `${ratio(a.reads.p50, b.reads.p50)}, ${ratio(a.reads.p999, b.reads.p999)}`,
    `${ratio(a.writes.p50, b.writes.p50)}, ${ratio(a.writes.p999, b.writes.p999)}`,
  ];
}

function byLoad(summaries: readonly Summary[]): Summary[][] {
  return [...Map.groupBy(summaries, loadName).values()];
}

function loadName({ workers, ratePerSecond }: LoadCase): string {
  return ratePerSecond === 0 ? `closed loop, ${workers} workers` : `open loop, ${ratePerSecond}/s`;
}

function storeName({ store, path }: Summary): string {
  return path === 'default' ? store : `${store}, ${path}`;
}

function errorsText({ errors, notBegun }: Summary): string {
  return notBegun === 0 ? String(errors) : `${errors}, and ${notBegun} never begun`;
}

/** Quotients of sums: a round counts for as much as was measured in it. */
function spread(rounds: readonly (readonly [amount: number, per: number])[]): Spread {
  const each = rounds.map(([amount, per]) => amount / per);
  return {
    mean: sum(rounds.map(([amount]) => amount)) / sum(rounds.map(([, per]) => per)),
    low: Math.min(...each),
    high: Math.max(...each),
  };
}

function merged([first, ...others]: readonly Histogram[]): Histogram {
  for (const other of others) first?.add(other);
  return first as Histogram;
}

function percentiles(histogram: Histogram): Percentiles {
  const at = (percentile: number) => histogram.getValueAtPercentile(percentile) / 1000;
  return { count: histogram.totalCount, p50: at(50), p99: at(99), p999: at(99.9), max: histogram.maxValue / 1000 };
}

function percentilesText({ count, p50, p99, p999, max }: Percentiles): string {
  return count === 0 ? 'none' : [p50, p99, p999, max].map(significant).join(' / ');
}

function spreadText({ mean, low, high }: Spread): string {
  const [text, ...ends] = [mean, low, high].map((value) => Math.round(value).toLocaleString('en'));
  return ends[0] === ends[1] ? String(text) : `${text} (${ends.join(' – ')})`;
}

/** Two digits that mean something; whole numbers from 10 on. */
function significant(value: number): string {
  if (!Number.isFinite(value)) return '–';
  return value >= 9.95 ? Math.round(value).toLocaleString('en') : value.toFixed(value >= 0.995 ? 1 : 2);
}

function markdown(titles: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  return `${[line(titles), line(titles.map(() => '---')), ...rows.map(line)].join('\n')}\n`;
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
