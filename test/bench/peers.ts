/**
 * Cartwheel beside etcd and Cassandra: three nodes each, one after the other on the same machine and disk, round after
 * round, by one load generator. Prints tables in Markdown; keeps them, plots and everything behind them as JSON under
 * results/. docs/benchmarks.md says how to read them.
 *
 * I1 At most one cluster runs at a time, and it begins with an empty directory and the same load as the others.
 * I2 Whatever happens, the processes started here are ended and their data is removed.
 */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { commitText } from '../commit.ts';
import { aimsTable } from './aims.ts';
import { runBenchmark } from './benchmark.ts';
import type { StoreName } from './clusters/cluster.ts';
import { startCluster } from './clusters/start.ts';
import {
  buildGenerator,
  type CaseReport,
  caseText,
  type GeneratorLine,
  type GeneratorReport,
  type LoadCase,
  runGenerator,
} from './generator.ts';
import { machineText, requirePrograms } from './machine.ts';
import { casesOf, estimateSeconds, keysOf, type PeersOptions, readOptions } from './peers-options.ts';
import { plotsOf } from './plots.ts';
import { root } from './program.ts';
import {
  byMix,
  type Footprint,
  figuresTable,
  footprint,
  footprintsTable,
  ratiosTable,
  type Summary,
  summarize,
} from './report.ts';
import { withSection } from './tables.ts';

interface Round extends GeneratorReport {
  readonly round: number;
  readonly store: StoreName;
  readonly valueBytes: number;
}

const results = fileURLToPath(new URL('results', import.meta.url));
const docs = join(root, 'docs');

async function main(options: PeersOptions, signal: AbortSignal): Promise<void> {
  const versions = requirePrograms(options.stores);
  note('building the generator (the first time takes a minute or two)');
  await buildGenerator(signal);
  note(`measuring takes about ${Math.ceil(estimateSeconds(options) / 60)} minutes`);
  const started = new Date();
  const rounds: Round[] = [];
  for (let round = 1; round <= options.rounds; round++) {
    for (const valueBytes of options.valueBytes) {
      for (const store of options.stores) {
        note(`round ${round} of ${options.rounds}: ${store}, values of ${valueBytes} B`);
        rounds.push({ round, store, valueBytes, ...(await measure(store, valueBytes, options, signal)) });
      }
    }
  }
  writeReport(started, options, versions, rounds);
}

async function measure(
  store: StoreName,
  valueBytes: number,
  options: PeersOptions,
  signal: AbortSignal,
): Promise<GeneratorReport> {
  const cases: readonly LoadCase[] = casesOf(store, options);
  const workload = {
    keys: keysOf(options, valueBytes),
    valueBytes,
    seconds: options.seconds,
    warmupSeconds: options.warmup,
    firstWarmupSeconds: options.firstWarmup,
  };
  // Beside the results, so that all stores sync to the disk that the clone is on: /tmp is often memory.
  const directory = join(results, `data-${process.pid}`);
  try {
    const cluster = await startCluster(store, directory, signal);
    try {
      const report = await runGenerator(store, cluster, cases, workload, tellProgress, signal);
      return withNames(report, new Map(Object.entries(cluster.pids).map(([name, pid]) => [String(pid), name])));
    } finally {
      await cluster.stop();
    }
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** What the generator has by process id, by the names of the servers. */
function withNames({ loadSeconds, cases, run }: GeneratorReport, names: ReadonlyMap<string, string>): GeneratorReport {
  const named = (figures: Readonly<Record<string, number>>) =>
    Object.fromEntries(Object.entries(figures).map(([pid, figure]) => [names.get(pid) ?? pid, figure]));
  return {
    loadSeconds,
    cases: cases.map((load) => ({
      ...load,
      serverCpuSeconds: named(load.serverCpuSeconds),
      serverResidentBytes: named(load.serverResidentBytes),
    })),
    run: { ...run, serverBytesWritten: named(run.serverBytesWritten) },
  };
}

function tellProgress(line: GeneratorLine): void {
  if (line.kind === 'load') note(`  loaded in ${line.seconds.toFixed(1)} s, ${line.failedWrites} writes repeated`);
  else if (line.kind === 'case') {
    note(`  ${caseText(line)} done, ${line.errors} errors${line.firstError ? `, the first: ${line.firstError}` : ''}`);
  }
}

function summariesOf(
  options: PeersOptions,
  rounds: readonly Round[],
): { summaries: Summary[]; footprints: Footprint[] } {
  const summaries: Summary[] = [];
  const footprints: Footprint[] = [];
  for (const valueBytes of options.valueBytes) {
    for (const store of options.stores) {
      const ofStore = rounds.filter((round) => round.store === store && round.valueBytes === valueBytes);
      const cases = (ofStore[0]?.cases ?? []).map((_, i) =>
        summarize(
          store,
          ofStore.map((round) => round.cases[i] as CaseReport),
        ),
      );
      summaries.push(...cases);
      footprints.push(
        footprint(
          cases,
          ofStore.map(({ run }) => run),
        ),
      );
    }
  }
  return { summaries, footprints };
}

function writeReport(
  started: Date,
  options: PeersOptions,
  versions: Readonly<Record<string, string>>,
  rounds: readonly Round[],
): void {
  const { summaries, footprints } = summariesOf(options, rounds);
  const plots = plotsOf(summaries);
  const [commit, machine] = [commitText(), machineText()];
  const keys = options.valueBytes.map((bytes) => keysOf(options, bytes).toLocaleString('en')).join(', ');
  const images = (folder: string) =>
    plots.map(({ name, caption }) => `![${caption}](${folder}${name}.svg)\n`).join('\n');
  const aims = aimsTable(summaries);
  const text = (folder: string) =>
    [
      `> \`npm run bench:peers${['', ...process.argv.slice(2)].join(' ').replace(/^ /, ' -- ')}\`,`,
      `> ${started.toISOString().slice(0, 16).replace('T', ' ')} UTC, commit ${commit}; ${machine};`,
      `> ${Object.entries(versions)
        .map(([name, version]) => `${name} ${version}`)
        .join(', ')}. Load of the machine when it began: ${options.loadAverage.toFixed(1)}.`,
      `> ${keys} keys; ${options.rounds} × ${options.seconds} s a case, each after ${options.warmup} s of the same load, the ` +
        `first of each path after ${options.firstWarmup} s.`,
      '',
      ...[...byMix(summaries)].flatMap(([mix, ofMix]) => [`### ${mix}`, '', figuresTable(ofMix), ratiosTable(ofMix)]),
      ...(aims === '' ? [] : ['### Aims', '', aims]),
      '### What it takes',
      '',
      footprintsTable(footprints),
      images(folder),
    ].join('\n');
  const directory = join(results, started.toISOString().slice(0, 19).replaceAll(':', '-'));
  mkdirSync(directory, { recursive: true });
  const everything = {
    started: started.toISOString(),
    commit,
    machine,
    versions,
    options,
    summaries,
    footprints,
    rounds,
  };
  writeFileSync(join(directory, 'report.json'), `${JSON.stringify(everything, undefined, 2)}\n`);
  writeFileSync(join(directory, 'report.md'), text(''));
  for (const { name, svg } of plots) writeFileSync(join(directory, `${name}.svg`), svg);
  process.stdout.write(text(''));
  note(`kept in ${directory}`);
  if (!options.docs) return;
  const page = join(docs, 'benchmarks.md');
  writeFileSync(page, withSection(readFileSync(page, 'utf8'), 'bench:peers', text('images/')));
  for (const { name, svg } of plots) writeFileSync(join(docs, 'images', `${name}.svg`), svg);
  note(`written into ${page}, the plots beside it`);
}

function note(text: string): void {
  process.stderr.write(`bench: ${text}\n`);
}

await runBenchmark('bench', (flags, signal) => main(readOptions(flags), signal));
