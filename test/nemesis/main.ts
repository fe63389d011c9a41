/**
 * The nemesis as a command: real processes under real faults, and the oracle of the simulation on what real clients
 * were answered. Exit code 0: no promise was broken; 1: one was; 2: it was not asked in a way that can be
 * understood; 130: interrupted.
 */
import { existsSync, readdirSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { controls } from '../sim/controls.ts';
import { allFaults, ringFaults } from './faults/all.ts';
import { reportOf } from './report.ts';
import { type RunOptions, run } from './run.ts';
import { createView } from './view.ts';

const help = `npm run nemesis -- [flags]

Starts a cluster of real processes, lets clients work on it while it kills, stops and starts processes, cuts and slows
the network and breaks disks, then heals everything and reads back every key. Nothing acknowledged may be lost, nothing
covered may come back, and nothing may be there that nobody wrote.

  --minutes M    of load and faults (3)
  --nodes N      storage nodes, 3 to 20 (5)
  --clients C    half through the router, half straight to the nodes (4)
  --workers W    operations under way at once (64)
  --seed S       draws faults and operations; what comes of them depends on the machine too (a new one each time)
  --faults LIST  only these kinds, by words of their names: --faults 'kill -9,cut'
  --no-membership  all membership processes are killed for the whole run, which must not be noticed
  --control NAME storage nodes that are built wrong, and must be caught: ${controls.map(({ name }) => name).join(', ')}
  --data DIR     for data, logs and the history of all operations; kept (a temporary one, removed if all was well)
  --keep         keep the temporary one
  --help

Kinds of faults: ${allFaults.map(({ kind }) => kind).join(', ')};
and only where --faults names them: ${ringFaults.map(({ kind }) => kind).join(', ')}.
A full disk needs root (a small tmpfs); broken and slow disks need Linux and a C compiler.
Ctrl-C ends it, and every process that it has started; twice at once.
`;

function usage(problem: string): never {
  process.stderr.write(`nemesis: ${problem}; --help names the flags\n`);
  process.exit(2);
}

function parse() {
  try {
    return parseArgs({
      options: {
        minutes: { type: 'string', default: '3' },
        nodes: { type: 'string', default: '5' },
        clients: { type: 'string', default: '4' },
        workers: { type: 'string', default: '64' },
        seed: { type: 'string', default: String(Date.now() % 1_000_000) },
        faults: { type: 'string' },
        'no-membership': { type: 'boolean', default: false },
        control: { type: 'string' },
        data: { type: 'string' },
        keep: { type: 'boolean', default: false },
        help: { type: 'boolean', default: false },
      },
    }).values;
  } catch (error) {
    return usage((error as Error).message);
  }
}

function numberOf(flag: string, text: string, min: number, max: number, isWhole = true): number {
  const value = Number(text);
  const isRight = text.trim() !== '' && value >= min && value <= max && (!isWhole || Number.isSafeInteger(value));
  return isRight
    ? value
    : usage(`--${flag} is ${text}, wanted a ${isWhole ? 'whole ' : ''}number from ${min} to ${max}`);
}

function faultsOf(list: string | undefined): RunOptions['faults'] {
  if (list === undefined) return allFaults;
  const words = list.split(',').map((word) => word.trim());
  for (const word of words) {
    if (word === '' || ![...allFaults, ...ringFaults].some(({ kind }) => kind.includes(word)))
      usage(`--faults: no kind has "${word}" in it`);
  }
  return [...allFaults, ...ringFaults].filter(({ kind }) => words.some((word) => kind.includes(word)));
}

const values = parse();
if (values.help) {
  process.stdout.write(help);
  process.exit(0);
}
if (values.control !== undefined && !controls.some(({ name }) => name === values.control)) {
  usage(`--control: there is no "${values.control}"`);
}

if (values.data !== undefined && existsSync(values.data) && readdirSync(values.data).length > 0) {
  usage(`--data ${values.data} is not empty; each run makes a cluster of its own`);
}

const stop = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.on(signal, () => {
    if (stop.signal.aborted) process.exit(130);
    process.stderr.write('\nending all processes; once more to kill them\n');
    stop.abort();
  });
}

const options: RunOptions = {
  seed: numberOf('seed', values.seed, 0, Number.MAX_SAFE_INTEGER),
  faultsMs: numberOf('minutes', values.minutes, 0.05, 24 * 60, false) * 60_000,
  nodes: numberOf('nodes', values.nodes, 3, 20),
  clients: numberOf('clients', values.clients, 1, 64),
  workers: numberOf('workers', values.workers, 1, 2_000),
  faults: faultsOf(values.faults),
  membershipDead: values['no-membership'],
  data: values.data,
  keep: values.keep,
  control: values.control,
  view: createView(process.stderr),
  stop: stop.signal,
};
const outcome = await run(options);
if (process.stderr.isTTY) process.stderr.write('\r\x1b[K');
console.log(reportOf(options, outcome));
process.exitCode = outcome.violations.any ? 1 : outcome.interrupted ? 130 : 0;
