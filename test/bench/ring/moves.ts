/** 5 → 7 → 5 nodes under load, round after round: two join, and then two others leave, whose places are free again. */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import type { BenchResult } from '../../../cli/bench/run.ts';
import type { ClusterProcess } from '../../e2e/cluster.ts';
import { carryOut, idAt } from '../../nemesis/change.ts';
import type { RingOptions } from '../ring.ts';
import { type LoadedCluster, withLoad } from './load.ts';
import { auditText, phasesTable, together, verdict } from './phases.ts';

const nodes = 5;
const joiners = 2;

export async function studyMoves(options: RingOptions, data: string, signal: AbortSignal): Promise<string> {
  return withLoad(options, { nodes, spares: joiners, data }, signal, async (loaded) => {
    const quiet: BenchResult[] = [];
    const starting: BenchResult[] = [];
    const joining: BenchResult[] = [];
    const leaving: BenchResult[] = [];
    for (let round = 0; round < options.rounds; round++) {
      quiet.push(await loaded.quiet(options.quiet));
      const fresh = loaded.cluster.spares;
      // Two processes that start take a core for a second: that is not the ring's, and elsewhere another machine's.
      starting.push(await loaded.during(() => Promise.all(fresh.map((spare) => spare.start()))));
      joining.push(await loaded.during(() => comeIn(loaded, fresh)));
      quiet.push(await loaded.quiet(options.quiet));
      const old = loaded.cluster.nodes.slice(0, joiners);
      leaving.push(await loaded.during(() => leave(loaded, old)));
      await Promise.all(old.map((node) => takeAway(loaded, node)));
    }
    const audit = await loaded.audit();
    const [calm, moving] = [together(quiet), together([...joining, ...leaving])];
    const table = phasesTable(
      new Map([
        ['quiet', calm],
        ['the ring changes', moving],
        ['of that, 5 → 7', together(joining)],
        ['of that, 7 → 5', together(leaving)],
        ['two processes start', together(starting)],
      ]),
    );
    const title = `${nodes} → ${nodes + joiners} → ${nodes} nodes, ${options.rounds} times, ${options.rate} operations a second, half of them writes, ${options.keys.toLocaleString('en')} keys of 1 KiB:`;
    return [title, table, verdict('changes of the ring', moving, calm), auditText(audit)].join('\n\n');
  });
}

async function comeIn({ cluster }: LoadedCluster, fresh: readonly ClusterProcess[]): Promise<void> {
  const joins = await Promise.all(fresh.map(({ address }) => idAt(address)));
  await carryOut(cluster.membership.address, { joins, leaves: [], down: [], isLost: () => false });
  for (const spare of fresh) cluster.enter(spare);
}

async function leave({ cluster }: LoadedCluster, old: readonly ClusterProcess[]): Promise<void> {
  const leaves = await Promise.all(old.map(({ address }) => idAt(address)));
  await carryOut(cluster.membership.address, { joins: [], leaves, down: [], isLost: () => false });
}

/** It comes again as another node. */
async function takeAway({ cluster }: LoadedCluster, node: ClusterProcess): Promise<void> {
  cluster.exit(node);
  await node.kill('SIGTERM');
  rmSync(join(node.data, 'data'), { recursive: true, force: true });
  cluster.giveBack(node);
}
