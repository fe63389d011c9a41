/**
 * Cartwheel beside etcd: three nodes each, one after the other on the same machine and disk, round after round, by
 * one load generator. Prints tables in Markdown; keeps them, and everything behind them as JSON, under results/.
 * docs/benchmarks.md says how to read them.
 *
 * I1 At most one cluster runs at a time, and it begins each round with an empty directory and the same load.
 * I2 Whatever happens, the processes started here are ended and their data is removed.
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism, cpus, release, totalmem } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Command, CommanderError, Option } from 'commander';
import { messageOf, Problem } from '../../cli/problem.ts';
import { integerBetween } from '../../cli/values.ts';
import { type StoreName, startCluster } from './clusters.ts';
import { buildGenerator, type CaseReport, caseText, type LoadCase, runGenerator, type Workload } from './generator.ts';
import { figuresTable, ratiosTable, summarize } from './report.ts';

interface Options {
  readonly seconds: number;
  readonly warmup: number;
  readonly rounds: number;
  readonly keys: number;
  readonly valueBytes: number;
  readonly only?: StoreName;
}

interface Round {
  readonly round: number;
  readonly store: StoreName;
  readonly loadSeconds: number;
  readonly cases: readonly CaseReport[];
}

const loads: readonly Omit<LoadCase, 'path'>[] = [
  { workers: 64, ratePerSecond: 0 },
  { workers: 256, ratePerSecond: 0 },
  { workers: 256, ratePerSecond: 2000 },
];
const pathsOf: Readonly<Record<StoreName, readonly string[]>> = { etcd: ['default'], cartwheel: ['direct', 'router'] };
const results = fileURLToPath(new URL('results', import.meta.url));

async function main(options: Options, signal: AbortSignal): Promise<void> {
  const stores: readonly StoreName[] = options.only === undefined ? ['etcd', 'cartwheel'] : [options.only];
  const versions = requirePrograms(stores);
  const workload: Workload = {
    keys: options.keys,
    valueBytes: options.valueBytes,
    seconds: options.seconds,
    warmupSeconds: options.warmup,
  };
  note('building the generator (the first time takes a minute or two)');
  await buildGenerator(signal);
  const started = new Date();
  const rounds: Round[] = [];
  for (let round = 1; round <= options.rounds; round++) {
    for (const store of stores) {
      note(`round ${round} of ${options.rounds}: ${store}`);
      rounds.push({ round, store, ...(await measure(store, workload, signal)) });
    }
  }
  writeReport(started, options, versions, stores, rounds);
}

async function measure(
  store: StoreName,
  workload: Workload,
  signal: AbortSignal,
): Promise<Omit<Round, 'round' | 'store'>> {
  const cases = pathsOf[store].flatMap((path) => loads.map((load) => ({ ...load, path })));
  // Beside the results, so that both stores sync to the disk that the clone is on: /tmp is often memory.
  const directory = join(results, `data-${process.pid}`);
  try {
    const cluster = await startCluster(store, directory, signal);
    try {
      const names = new Map(Object.entries(cluster.pids).map(([name, pid]) => [String(pid), name]));
      const report = await runGenerator(store, cluster, cases, workload, tellProgress, signal);
      return {
        loadSeconds: report.loadSeconds,
        cases: report.cases.map((load) => ({
          ...load,
          serverCpuSeconds: Object.fromEntries(
            Object.entries(load.serverCpuSeconds).map(([pid, seconds]) => [names.get(pid) ?? pid, seconds]),
          ),
        })),
      };
    } finally {
      await cluster.stop();
    }
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

function tellProgress(line: string): void {
  const told = JSON.parse(line) as CaseReport & { readonly kind: string; readonly failedWrites?: number };
  if (told.kind === 'load') note(`  loaded in ${told.seconds.toFixed(1)} s, ${told.failedWrites} writes repeated`);
  else
    note(`  ${caseText(told)} done, ${told.errors} errors${told.firstError ? `, the first: ${told.firstError}` : ''}`);
}

function writeReport(
  started: Date,
  options: Options,
  versions: Readonly<Record<string, string>>,
  stores: readonly StoreName[],
  rounds: readonly Round[],
): void {
  const summaries = stores.flatMap((store) => {
    const ofStore = rounds.filter((round) => round.store === store).map(({ cases }) => cases);
    return (ofStore[0] ?? []).map((_, i) =>
      summarize(
        store,
        ofStore.map((cases) => cases[i] as CaseReport),
      ),
    );
  });
  const commit = commitText();
  const machine = `${availableParallelism()} × ${cpus()[0]?.model.trim()}, ${Math.round(totalmem() / 1024 ** 3)} GiB, Linux ${release()}`;
  const text = [
    `${started.toISOString().slice(0, 16).replace('T', ' ')} UTC, commit ${commit}; ${machine};`,
    `${Object.entries(versions)
      .map(([name, version]) => `${name} ${version}`)
      .join(', ')}.`,
    `${options.keys.toLocaleString('en')} keys, ${options.valueBytes} B values, half reads, zipfian; ` +
      `${options.rounds} × ${options.seconds} s a case, each after ${options.warmup} s of warm-up.`,
    '',
    figuresTable(summaries),
    ratiosTable(summaries),
  ].join('\n');
  const file = join(results, started.toISOString().slice(0, 19).replaceAll(':', '-'));
  mkdirSync(results, { recursive: true });
  writeFileSync(`${file}.md`, text);
  const everything = { started: started.toISOString(), commit, machine, versions, options, summaries, rounds };
  writeFileSync(`${file}.json`, `${JSON.stringify(everything, undefined, 2)}\n`);
  process.stdout.write(text);
  note(`kept in ${file}.md and .json`);
}

/** The version of each program that is needed; a Problem that says how to get one that is missing. */
function requirePrograms(stores: readonly StoreName[]): Record<string, string> {
  if (process.platform !== 'linux') {
    throw new Problem(`the benchmark reads CPU times from /proc: wanted linux, saw ${process.platform}`);
  }
  const versions: Record<string, string> = { Node: process.versions.node };
  versions.Go = versionOf('go', ['version'], /go(\d\S*)/, 'the load generator is written in Go: see go.dev/dl');
  if (stores.includes('etcd')) {
    const hint = 'on Debian: apt-get install etcd-server; without it: npm run bench:peers -- --only cartwheel';
    versions.etcd = versionOf('etcd', ['--version'], /etcd Version: (\S+)/, hint);
  }
  return versions;
}

function versionOf(command: string, flags: readonly string[], pattern: RegExp, hint: string): string {
  const { stdout, error } = spawnSync(command, flags, { encoding: 'utf8' });
  if (error !== undefined) throw new Problem(`${command} is not on the PATH (${messageOf(error)})`, hint);
  return pattern.exec(stdout)?.[1] ?? 'of unknown version';
}

function commitText(): string {
  const git = (...flags: string[]) => spawnSync('git', flags, { cwd: results, encoding: 'utf8' }).stdout?.trim() ?? '';
  mkdirSync(results, { recursive: true });
  const commit = git('rev-parse', '--short', 'HEAD');
  if (commit === '') return 'unknown';
  return git('status', '--porcelain', '--untracked-files=no') === '' ? commit : `${commit} with changes`;
}

function note(text: string): void {
  process.stderr.write(`bench: ${text}\n`);
}

function readOptions(argv: readonly string[]): Options {
  const command = new Command('npm run bench:peers --')
    .description('Cartwheel beside etcd: three nodes each, one after the other, on this machine.')
    .option('--seconds <n>', 'measured seconds of each case', integerBetween(1, 3600), 20)
    .option('--warmup <n>', 'seconds of the same load before them', integerBetween(0, 3600), 10)
    .option('--rounds <n>', 'how often each store is started anew and measured', integerBetween(1, 100), 2)
    .option('--keys <n>', 'number of keys', integerBetween(1, 10_000_000), 100_000)
    .option('--value-bytes <n>', 'size of a value', integerBetween(1, 1_000_000), 1024)
    .addOption(new Option('--only <store>', 'measure only this one').choices(['cartwheel', 'etcd']))
    .exitOverride();
  return command.parse(argv, { from: 'user' }).opts<Options>();
}

const interrupted = new AbortController();
const interrupt = () => interrupted.abort(new Problem('interrupted', undefined, 130));
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, interrupt);
// Started by start-peers.js, which leaves a channel open: when that is gone, however it went, this ends too.
process.once('disconnect', interrupt);
process.channel?.unref();

try {
  await main(readOptions(process.argv.slice(2)), interrupted.signal);
} catch (error) {
  const problem = interrupted.signal.aborted ? (interrupted.signal.reason as unknown) : error;
  if (problem instanceof CommanderError) process.exitCode = problem.exitCode === 0 ? 0 : 2;
  else {
    note(problem instanceof Problem ? [messageOf(problem), problem.hint].filter(Boolean).join('; ') : String(problem));
    process.exitCode = problem instanceof Problem ? problem.exitCode : 1;
  }
}
