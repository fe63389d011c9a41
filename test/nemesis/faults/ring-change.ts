/** Nodes join, leave, and take the place of others. One that has left can come again with an empty disk, as another one. */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { carryOut, idAt } from '../change.ts';
import type { Fault } from './world.ts';

const nodesMin = 4;
/** Whatever was done to the process when it left the ring is over by then. */
const lastFaultsMs = 15_000;

export const ringChange: Fault = {
  kind: 'change of the ring',
  lane: 'ring',
  async strike({ cluster, smallDisk, addressOf, isLost, stop, note }, random) {
    const [spare] = cluster.spares;
    const mayLeave = cluster.nodes.filter(({ name }) => typeof smallDisk === 'string' || name !== smallDisk.node);
    const dice = random.fraction();
    const joining = spare !== undefined && dice < 0.7 ? spare : undefined;
    const canLeave = cluster.nodes.length + (joining === undefined ? 0 : 1) > nodesMin;
    const leaving = canLeave && (dice > 0.4 || joining === undefined) ? random.pick(mayLeave) : undefined;
    if (joining === undefined && leaving === undefined) return;
    note(`the ring changes: ${joining?.name ?? 'nobody'} joins, ${leaving?.name ?? 'nobody'} leaves`);
    await joining?.start();
    const joins = joining === undefined ? [] : [await idAt(addressOf(joining))];
    const leaves = leaving === undefined ? [] : [await idAt(addressOf(leaving))];
    if (joining !== undefined) cluster.enter(joining);
    await carryOut(cluster.membership.address, { joins, leaves, down: [], isLost }, stop);
    if (stop.aborted) return;
    note(`the ring has changed: ${joining?.name ?? 'nobody'} has joined, ${leaving?.name ?? 'nobody'} has left`);
    if (leaving === undefined) return;
    cluster.exit(leaving);
    await sleep(lastFaultsMs);
    await leaving.kill('SIGCONT');
    await leaving.kill('SIGTERM');
    rmSync(join(leaving.data, 'data'), { recursive: true, force: true });
    cluster.giveBack(leaving);
  },
};
