/** The load generator as a program: built from generator/ (Go), run against one cluster, its lines of JSON read. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Distribution } from '../../cli/bench/workload.ts';
import { Problem } from '../../cli/problem.ts';
import type { Cluster, StoreName } from './clusters/cluster.ts';
import { root, runProgram } from './program.ts';

export interface LoadCase {
  /** `direct` or `router` for Cartwheel, `default` for the others. */
  readonly path: string;
  readonly workers: number;
  /** 0: closed loop. */
  readonly ratePerSecond: number;
  /** The part of operations that are reads. */
  readonly readFraction: number;
  /** Of the keys. */
  readonly distribution: Distribution;
}

/** What all cases of a run have in common. */
export interface Workload {
  readonly keys: number;
  readonly valueBytes: number;
  readonly seconds: number;
  readonly warmupSeconds: number;
  /** Before the first case of each path, instead of `warmupSeconds`. */
  readonly firstWarmupSeconds: number;
}

/** What the generator measured in one case; the fields of caseReport in generator/measure.go. */
export interface CaseReport extends LoadCase {
  readonly valueBytes: number;
  readonly seconds: number;
  readonly errors: number;
  readonly firstError?: string;
  readonly notBegun: number;
  readonly valuesRead: number;
  /** By process id. */
  readonly serverCpuSeconds: Readonly<Record<string, number>>;
  readonly serverResidentBytes: Readonly<Record<string, number>>;
  readonly generatorCpuSeconds: number;
  /** HdrHistogram, V2 compressed, base64; microseconds. */
  readonly reads: string;
  readonly writes: string;
}

/** Of loading, warm-ups and cases together; the fields of runReport in generator/measure.go. */
export interface RunReport {
  readonly valueBytesWritten: number;
  /** By process id. */
  readonly serverBytesWritten: Readonly<Record<string, number>>;
}

export interface GeneratorReport {
  readonly loadSeconds: number;
  readonly cases: readonly CaseReport[];
  readonly run: RunReport;
}

/** A line of what the generator prints. */
export type GeneratorLine =
  | { readonly kind: 'load'; readonly seconds: number; readonly failedWrites: number }
  | ({ readonly kind: 'case' } & CaseReport)
  | ({ readonly kind: 'run' } & RunReport);

const sources = fileURLToPath(new URL('generator', import.meta.url));
const program = join(sources, 'build', 'generator');
/** Far slower than any store here; only stops a hang. */
const loadBytesPerSecondLeast = 200 * 1024;
/** Beside its warm-up and its measured seconds: the overtime of an open loop, and some for a busy machine. */
const caseExtraSeconds = 60;

/** Makes the Go code of kv.v1 and builds the generator. */
export async function buildGenerator(signal: AbortSignal): Promise<void> {
  mkdirSync(join(sources, 'build'), { recursive: true });
  const buf = join(root, 'node_modules', '@bufbuild', 'buf', 'bin', 'buf');
  await runProgram(process.execPath, [buf, 'generate', '--template', 'test/bench/generator/buf.gen.yaml'], signal);
  await runProgram('go', ['-C', sources, 'build', '-buildvcs=false', '-o', program, '.'], signal);
}

/** Loads the keys, then runs the cases one after the other; `tell` hears each line as it comes. */
export async function runGenerator(
  store: StoreName,
  cluster: Cluster,
  cases: readonly LoadCase[],
  workload: Workload,
  tell: (line: GeneratorLine) => void,
  signal: AbortSignal,
): Promise<GeneratorReport> {
  const flags = [
    ...['-store', store === 'cassandra-batch' ? 'cassandra' : store],
    ...['-endpoints', cluster.endpoints.join(','), '-routers', cluster.routers.join(',')],
    ...['-load', '-keys', String(workload.keys), '-value-bytes', String(workload.valueBytes)],
    ...['-seconds', String(workload.seconds), '-warmup', String(workload.warmupSeconds)],
    ...['-first-warmup', String(workload.firstWarmupSeconds), '-pids', Object.values(cluster.pids).join(',')],
    ...cases.flatMap((load) => ['-case', caseText(load)]),
  ];
  const caseSeconds = workload.seconds + Math.max(workload.warmupSeconds, workload.firstWarmupSeconds);
  const loadSeconds = (workload.keys * (workload.valueBytes + 1024)) / loadBytesPerSecondLeast;
  const limitSeconds = Math.round(60 + loadSeconds + cases.length * (caseSeconds + caseExtraSeconds));
  const hung = new AbortController();
  const late = new Problem(`the generator was not done with ${store} after ${limitSeconds} s`);
  const timer = setTimeout(() => hung.abort(late), limitSeconds * 1000);
  const lines: GeneratorLine[] = [];
  const hear = (text: string) => {
    const line = JSON.parse(text) as GeneratorLine;
    lines.push(line);
    tell(line);
  };
  await runProgram(program, flags, AbortSignal.any([signal, hung.signal]), hear).finally(() => clearTimeout(timer));
  const load = lines.find((line) => line.kind === 'load');
  const run = lines.find((line) => line.kind === 'run');
  const reports = lines.filter((line) => line.kind === 'case');
  if (reports.length !== cases.length || load === undefined || run === undefined) {
    throw new Problem(`the generator reported ${reports.length} cases, wanted ${cases.length}, a load and a run`);
  }
  return { loadSeconds: load.seconds, cases: reports, run };
}

/** As the generator's flag `-case` has it. */
export function caseText({ path, workers, ratePerSecond, readFraction, distribution }: LoadCase): string {
  const load = ratePerSecond === 0 ? String(workers) : `${workers}@${ratePerSecond}`;
  return `${path}:${load},reads=${readFraction},${distribution}`;
}
