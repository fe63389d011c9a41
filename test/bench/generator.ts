/** The load generator as a program: built from generator/ (Go), run against one cluster, its lines of JSON read. */
import { spawn } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { messageOf, Problem, systemCodeOf } from '../../cli/problem.ts';
import type { Cluster, StoreName } from './clusters.ts';

export interface LoadCase {
  /** `direct` or `router` for Cartwheel, `default` for etcd. */
  readonly path: string;
  readonly workers: number;
  /** 0: closed loop. */
  readonly ratePerSecond: number;
}

export interface Workload {
  readonly keys: number;
  readonly valueBytes: number;
  readonly seconds: number;
  readonly warmupSeconds: number;
}

/** What the generator measured in one case; the fields of caseReport in generator/measure.go. */
export interface CaseReport extends LoadCase {
  readonly seconds: number;
  readonly errors: number;
  readonly firstError?: string;
  readonly notBegun: number;
  readonly valuesRead: number;
  /** By process id. */
  readonly serverCpuSeconds: Readonly<Record<string, number>>;
  readonly generatorCpuSeconds: number;
  /** HdrHistogram, V2 compressed, base64; microseconds. */
  readonly reads: string;
  readonly writes: string;
}

export interface GeneratorReport {
  readonly loadSeconds: number;
  readonly cases: readonly CaseReport[];
}

const root = fileURLToPath(new URL('../..', import.meta.url));
const sources = fileURLToPath(new URL('generator', import.meta.url));
const program = join(sources, 'build', 'generator');
/** Far slower than any store here; only stops a hang. */
const loadKeysPerSecondLeast = 200;
/** Beside its warm-up and its measured seconds: the overtime of an open loop, and some for a busy machine. */
const caseExtraSeconds = 60;

/** Makes the Go code of kv.v1 and builds the generator. */
export async function buildGenerator(signal: AbortSignal): Promise<void> {
  mkdirSync(join(sources, 'build'), { recursive: true });
  const buf = join(root, 'node_modules', '@bufbuild', 'buf', 'bin', 'buf');
  await run(process.execPath, [buf, 'generate', '--template', 'test/bench/generator/buf.gen.yaml'], signal);
  await run('go', ['-C', sources, 'build', '-buildvcs=false', '-o', program, '.'], signal);
}

/** Loads the keys, then runs the cases one after the other; `tell` hears of each when it is done. */
export async function runGenerator(
  store: StoreName,
  cluster: Cluster,
  cases: readonly LoadCase[],
  workload: Workload,
  tell: (line: string) => void,
  signal: AbortSignal,
): Promise<GeneratorReport> {
  const flags = [
    ...['-store', store, '-endpoints', cluster.endpoints.join(','), '-routers', cluster.routers.join(',')],
    ...['-load', '-keys', String(workload.keys), '-value-bytes', String(workload.valueBytes)],
    ...['-seconds', String(workload.seconds), '-warmup', String(workload.warmupSeconds)],
    ...['-pids', Object.values(cluster.pids).join(',')],
    ...cases.flatMap((load) => ['-case', caseText(load)]),
  ];
  const caseSeconds = workload.seconds + workload.warmupSeconds + caseExtraSeconds;
  const limitSeconds = Math.round(60 + workload.keys / loadKeysPerSecondLeast + cases.length * caseSeconds);
  const hung = new AbortController();
  const late = new Problem(`the generator was not done with ${store} after ${limitSeconds} s`);
  const timer = setTimeout(() => hung.abort(late), limitSeconds * 1000);
  const output = await run(program, flags, AbortSignal.any([signal, hung.signal]), tell).finally(() =>
    clearTimeout(timer),
  );
  const lines = output
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { readonly kind: string });
  const load = lines.find(({ kind }) => kind === 'load') as unknown as { readonly seconds: number };
  const reports = lines.filter(({ kind }) => kind === 'case') as unknown as CaseReport[];
  if (reports.length !== cases.length) {
    throw new Problem(`the generator reported ${reports.length} cases, wanted ${cases.length}`);
  }
  return { loadSeconds: load.seconds, cases: reports };
}

export function caseText({ path, workers, ratePerSecond }: LoadCase): string {
  return ratePerSecond === 0 ? `${path}:${workers}` : `${path}:${workers}@${ratePerSecond}`;
}

/** Runs a program to its end and returns what it wrote; its errors go to standard error. */
function run(command: string, flags: readonly string[], signal: AbortSignal, tell?: (line: string) => void) {
  const child = spawn(command, flags, { cwd: root, stdio: ['ignore', 'pipe', 'inherit'], signal });
  let output = '';
  let toldUpTo = 0;
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    output += chunk;
    for (let end = output.indexOf('\n', toldUpTo); end >= 0; end = output.indexOf('\n', toldUpTo)) {
      tell?.(output.slice(toldUpTo, end));
      toldUpTo = end + 1;
    }
  });
  return new Promise<string>((resolve, reject) => {
    let failure: unknown;
    child.once('error', (error) => {
      failure = signal.aborted ? (signal.reason ?? error) : error;
      if (systemCodeOf(error) === 'ENOENT') reject(new Problem(`${command} cannot be run: ${messageOf(error)}`));
    });
    child.once('close', (code) => {
      if (failure !== undefined) reject(failure);
      else if (code === 0) resolve(output);
      else reject(new Problem(`${command} ended with exit code ${code}`, 'its output above says why'));
    });
  });
}
