/** From what the generator measured, over all rounds, to the tables that people read. Pure. */
import { decodeFromCompressedBase64, type Histogram } from 'hdr-histogram-js';
import type { CaseReport, LoadCase, RunReport } from './generator.ts';
import { markdown, merged, significant, storeName } from './tables.ts';

/** One case of one store, all rounds together. */
export interface Summary extends LoadCase {
  readonly store: string;
  readonly valueBytes: number;
  readonly operationsPerSecond: Spread;
  readonly operationsPerServerCpuSecond: Spread;
  readonly reads: Percentiles;
  readonly writes: Percentiles;
  /** How many values a read returned on average: more than 1 where there are siblings. */
  readonly valuesPerRead: number;
  /** Of all servers together, at the end of the round in which it was most. */
  readonly residentBytes: number;
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
  /** For plots: latency by percentile, from the least on; without the greatest, whose percentile is 100. */
  readonly curve: readonly { readonly percentile: number; readonly ms: number }[];
}

/** What one store needed with values of one size: all servers, all rounds. */
export interface Footprint {
  readonly store: string;
  readonly valueBytes: number;
  readonly residentBytes: number;
  /** To disks, by all servers, for each byte of a value that was written: the replicas, logs and compactions of it. */
  readonly bytesWrittenPerByte: number;
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
    readFraction: first.readFraction,
    distribution: first.distribution,
    valueBytes: first.valueBytes,
    operationsPerSecond: spread(rounds.map((round) => [round.operations, round.seconds])),
    operationsPerServerCpuSecond: spread(rounds.map((round) => [round.operations, round.cpuSeconds])),
    reads: percentiles(reads),
    writes: percentiles(writes),
    valuesPerRead: sum(reports.map((report) => report.valuesRead)) / reads.totalCount,
    residentBytes: Math.max(...reports.map((report) => sum(Object.values(report.serverResidentBytes)))),
    errors: sum(reports.map((report) => report.errors)),
    notBegun: sum(reports.map((report) => report.notBegun)),
  };
}

/** `summaries` are those of the store with values of this size, `runs` one a round. */
export function footprint(summaries: readonly Summary[], runs: readonly RunReport[]): Footprint {
  const [first] = summaries;
  if (first === undefined) throw new RangeError('a footprint wants at least one case, saw 0');
  return {
    store: first.store,
    valueBytes: first.valueBytes,
    residentBytes: Math.max(...summaries.map(({ residentBytes }) => residentBytes)),
    bytesWrittenPerByte:
      sum(runs.flatMap(({ serverBytesWritten }) => Object.values(serverBytesWritten))) /
      sum(runs.map(({ valueBytesWritten }) => valueBytesWritten)),
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
      'resident, MiB',
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
        mebibytes(summary.residentBytes),
        errorsText(summary),
      ]),
  );
}

/** What is a multiple of what: Cartwheel's of each peer's, the router's of direct; empty where there is no such pair. */
export function ratiosTable(summaries: readonly Summary[]): string {
  const rows = byLoad(summaries).flatMap((group) => {
    const direct = group.filter(({ path }) => path === 'direct');
    const router = group.filter(({ path }) => path === 'router');
    const peers = group.filter(({ path }) => path === 'default');
    const pairs = [...pairsOf(direct, peers), ...pairsOf(router, peers), ...pairsOf(router, direct)];
    return pairs.map(([a, b]) => ratioRow(a, b));
  });
  if (rows.length === 0) return '';
  return markdown(['load', 'ratio', 'ops/s', 'ops per server CPU-s', 'read p50, p99.9', 'write p50, p99.9'], rows);
}

export function footprintsTable(footprints: readonly Footprint[]): string {
  return markdown(
    ['values', 'store', 'resident at most, MiB', 'bytes written to disk per byte of value'],
    footprints.map(({ store, valueBytes, residentBytes, bytesWrittenPerByte }) => [
      bytesText(valueBytes),
      store,
      mebibytes(residentBytes),
      significant(bytesWrittenPerByte),
    ]),
  );
}

/** The mixes in the order in which they come. */
export function byMix(summaries: readonly Summary[]): Map<string, Summary[]> {
  return Map.groupBy(summaries, mixName);
}

export function byLoad(summaries: readonly Summary[]): Summary[][] {
  return [...Map.groupBy(summaries, loadName).values()];
}

export function mixName({ valueBytes, readFraction, distribution }: Summary): string {
  const reads = readFraction === 0 ? 'writes only' : `${Math.round(readFraction * 100)}% reads`;
  return `${bytesText(valueBytes)}, ${reads}, ${distribution}`;
}

export function loadName({ workers, ratePerSecond }: Pick<LoadCase, 'workers' | 'ratePerSecond'>): string {
  return ratePerSecond === 0 ? `closed loop, ${workers} workers` : `open loop, ${ratePerSecond}/s`;
}

function pairsOf(as: readonly Summary[], bs: readonly Summary[]): (readonly [Summary, Summary])[] {
  return as.flatMap((a) => bs.map((b) => [a, b] as const));
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

function errorsText({ errors, notBegun }: Summary): string {
  return notBegun === 0 ? String(errors) : `${errors}, and ${notBegun} never begun`;
}

function bytesText(bytes: number): string {
  return bytes % 1024 === 0 ? `${bytes / 1024} KiB` : `${bytes} B`;
}

function mebibytes(bytes: number): string {
  return Math.round(bytes / 1024 ** 2).toLocaleString('en');
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

/** Points of the curve for each further nine. */
const CURVE_POINTS = 10;

function percentiles(histogram: Histogram): Percentiles {
  const at = (percentile: number) => histogram.getValueAtPercentile(percentile) / 1000;
  // As many nines as the number of latencies can tell apart.
  const nines = Math.log10(Math.max(1, histogram.totalCount));
  const curve = Array.from({ length: Math.floor(nines * CURVE_POINTS) + 1 }, (_, i) => {
    const percentile = 100 - 100 / 10 ** (i / CURVE_POINTS);
    return { percentile, ms: at(percentile) };
  });
  return {
    count: histogram.totalCount,
    p50: at(50),
    p99: at(99),
    p999: at(99.9),
    max: histogram.maxValue / 1000,
    curve,
  };
}

function percentilesText({ count, p50, p99, p999, max }: Percentiles): string {
  return count === 0 ? 'none' : [p50, p99, p999, max].map(significant).join(' / ');
}

function spreadText({ mean, low, high }: Spread): string {
  const [text, ...ends] = [mean, low, high].map((value) => Math.round(value).toLocaleString('en'));
  return ends[0] === ends[1] ? String(text) : `${text} (${ends.join(' – ')})`;
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
