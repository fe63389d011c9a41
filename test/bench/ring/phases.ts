/** What the phases of a benchmark under one steady load say together: percentiles, failures, ratios. Pure. */
import { type BenchResult, latencyHistogram } from '../../../cli/bench/run.ts';
import { failedText, markdown, significant } from '../tables.ts';
import type { Audit } from './acknowledged.ts';

/** Of all phases together. */
export interface Phases {
  readonly seconds: number;
  readonly times: number;
  readonly operations: number;
  readonly failed: ReadonlyMap<string, number>;
  readonly reads: Percentiles;
  readonly writes: Percentiles;
}

/** Milliseconds. */
export interface Percentiles {
  readonly p50: number;
  readonly p99: number;
  readonly p999: number;
}

export function together(results: readonly BenchResult[]): Phases {
  const failed = new Map<string, number>();
  for (const { errors } of results) {
    for (const [reason, count] of errors) failed.set(reason, (failed.get(reason) ?? 0) + count);
  }
  return {
    seconds: results.reduce((sum, { seconds }) => sum + seconds, 0),
    times: results.length,
    operations: results.reduce((sum, { reads, writes }) => sum + reads.totalCount + writes.totalCount, 0),
    failed,
    reads: percentilesOf(results.map(({ reads }) => reads)),
    writes: percentilesOf(results.map(({ writes }) => writes)),
  };
}

/** The histograms stay as they are. */
function percentilesOf(histograms: readonly BenchResult['reads'][]): Percentiles {
  const sum = latencyHistogram();
  for (const each of histograms) sum.add(each);
  const at = (percentile: number) => sum.getValueAtPercentile(percentile) / 1_000;
  return { p50: at(50), p99: at(99), p999: at(99.9) };
}

/** At most so much is wanted of the p99.9 during background work, against the quiet one. */
const ratioAim = 1.3;

/** `phases[0]` is the quiet one, which the others are compared with. */
export function phasesTable(phases: ReadonlyMap<string, Phases>): string {
  const [quiet] = phases.values();
  const rows = [...phases].map(([name, { seconds, times, operations, failed, reads, writes }]) => [
    name,
    `${times} × ${(seconds / times).toFixed(1)} s`,
    operations.toLocaleString('en'),
    failedText(failed),
    percentilesText(writes),
    percentilesText(reads),
    ...(quiet === undefined ? [] : [ratioText(writes, quiet.writes), ratioText(reads, quiet.reads)]),
  ]);
  const titles = ['', 'measured', 'operations', 'failed', 'write p50 / p99 / p99.9, ms', 'read p50 / p99 / p99.9, ms'];
  return markdown([...titles, 'write p99.9 : quiet', 'read p99.9 : quiet'], rows);
}

export function verdict(name: string, during: Phases, quiet: Phases): string {
  const worst = Math.max(during.writes.p999 / quiet.writes.p999, during.reads.p999 / quiet.reads.p999);
  const met = worst <= ratioAim ? 'met' : '**missed**';
  return `The aim for ${name} is a p99.9 of at most ${ratioAim}× the quiet one; the worse of the two ratios is ${worst.toFixed(2)}×: ${met}.`;
}

export function auditText({ keys, acknowledged, lost, cameBack }: Audit): string {
  const named = [...lost.slice(0, namedMax), ...cameBack.slice(0, namedMax)];
  const which = named.length === 0 ? '' : ` (${named.join(', ')} …)`;
  const [a, k] = [acknowledged, keys].map((count) => count.toLocaleString('en'));
  return `${a} writes of ${k} keys were acknowledged, and every key read with R = N at the end: ${lost.length} lost, ${cameBack.length} came back though they had been replaced${which}.`;
}

const namedMax = 5;

function percentilesText({ p50, p99, p999 }: Percentiles): string {
  return [p50, p99, p999].map(significant).join(' / ');
}

function ratioText(of: Percentiles, quiet: Percentiles): string {
  return `${(of.p999 / quiet.p999).toFixed(2)}×`;
}
