/**
 * Background work as fast as the governor lets it go: all of a node's partitions are transferred, because its disk was
 * wiped and it is replaced; and all are exchanged, because it stood still while every key changed and hints had no room.
 */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { BenchResult } from '../../../cli/bench/run.ts';
import type { ClusterProcess } from '../../e2e/cluster.ts';
import { figureOf } from '../../e2e/figures.ts';
import { carryOut, idAt } from '../../nemesis/change.ts';
import { untilEqual } from '../repair.ts';
import type { RingOptions } from '../ring.ts';
import { type LoadedCluster, withLoad } from './load.ts';
import { auditText, phasesTable, together, verdict } from './phases.ts';

const nodes = 3;
/** In which a node that stood still has gone through what came meanwhile. */
const returnMs = 1_000;

/** Again and again: the node is killed, its disk wiped; it comes back as another one, which takes its place. */
export async function studyTransfer(options: RingOptions, data: string, signal: AbortSignal): Promise<string> {
  return withLoad(options, { nodes, data }, signal, async (loaded) => {
    const { cluster } = loaded;
    const node = cluster.nodes[1] as ClusterProcess;
    const study = newStudy();
    for (let round = 0; round < options.rounds; round++) {
      study.quiet.push(await loaded.quiet(options.quiet));
      const lost = await idAt(node.address);
      const start = async () => {
        await node.kill('SIGKILL');
        rmSync(join(node.data, 'data'), { recursive: true, force: true });
        await node.start();
      };
      study.before.push(await loaded.during(start));
      const moved = await bytesOf(node, 'transfer');
      const joins = [await idAt(node.address)];
      const change = { joins, leaves: [lost], down: [lost], isLost: (id: string) => id === lost };
      study.during.push(await loaded.during(() => carryOut(cluster.membership.address, change)));
      study.bytes += (await bytesOf(node, 'transfer')) - moved;
    }
    const done = 'A disk wiped and its node of three replaced';
    return concluded(loaded, options, study, {
      name: 'a transfer',
      done,
      before: 'its node away, until it has started',
    });
  });
}

/** Again and again: every key changes while the node is away; then it is back. */
export async function studyExchange(options: RingOptions, data: string, signal: AbortSignal): Promise<string> {
  const shape = { nodes, data, flags: { node: ['--hints-max', '0'] } };
  return withLoad(options, shape, signal, async (loaded) => {
    const node = loaded.cluster.nodes[1] as ClusterProcess;
    const study = newStudy();
    for (let round = 0; round < options.rounds; round++) {
      study.quiet.push(await loaded.quiet(options.quiet));
      // Stopped, and not ended: to start a process is none of the exchange's work.
      await node.kill('SIGSTOP');
      await loaded.writeAll();
      const mended = await exchangedBytes(loaded, node);
      // Nor is what has piled up at its door.
      const wake = async () => {
        await node.kill('SIGCONT');
        await sleep(returnMs, undefined, { signal });
      };
      study.before.push(await loaded.during(wake));
      const addresses = loaded.cluster.nodes.map(({ address }) => address);
      study.during.push(await loaded.during(() => untilEqual(loaded.client, addresses, signal)));
      study.bytes += (await exchangedBytes(loaded)) - mended;
    }
    const done = 'One node of three stood still (SIGSTOP) while every key changed, without hints';
    return concluded(loaded, options, study, {
      name: 'an exchange',
      done,
      before: 'the first second after its return',
    });
  });
}

/** The load alone, with what comes before the background work, and with that work. */
interface Study {
  readonly quiet: BenchResult[];
  readonly before: BenchResult[];
  readonly during: BenchResult[];
  /** Of records that the background moved. */
  bytes: number;
}

const newStudy = (): Study => ({ quiet: [], before: [], during: [], bytes: 0 });

/** For people. */
interface Names {
  readonly name: 'a transfer' | 'an exchange';
  readonly done: string;
  readonly before: string;
}

/** The load alone once more, every key read, and the text on all of it. */
async function concluded(
  loaded: LoadedCluster,
  options: RingOptions,
  { quiet, before, during, bytes }: Study,
  names: Names,
): Promise<string> {
  quiet.push(await loaded.quiet(options.quiet));
  const audit = await loaded.audit();
  const [calm, busy] = [together(quiet), together(during)];
  const work = names.name.replace(/^an? /, 'the ');
  const table = phasesTable(
    new Map([
      ['quiet', calm],
      [work, busy],
      [names.before, together(before)],
    ]),
  );
  const title = `${names.done}, ${busy.times} times, ${options.rate} operations a second: ${pace(bytes, busy.seconds)}.`;
  return [title, table, verdict(names.name, busy, calm), auditText(audit)].join('\n\n');
}

/** One that stands still has exchanged nothing since it stopped, and is not asked. */
async function exchangedBytes({ cluster }: LoadedCluster, stopped?: ClusterProcess): Promise<number> {
  const asked = cluster.nodes.filter((node) => node !== stopped);
  const bytes = await Promise.all(asked.map((node) => bytesOf(node, 'exchange')));
  return bytes.reduce((sum, each) => sum + each, 0);
}

/** Admitted for tasks of the kind since the process started. */
function bytesOf({ admin }: ClusterProcess, kind: 'transfer' | 'exchange'): Promise<number> {
  return figureOf(admin, 'cartwheel_background_bytes_total', `task="${kind}"`);
}

function pace(bytes: number, seconds: number): string {
  const mebibytes = bytes / 1024 ** 2;
  return `${mebibytes.toFixed(0)} MiB of records in ${seconds.toFixed(1)} s, ${(mebibytes / seconds).toFixed(1)} MiB/s`;
}
