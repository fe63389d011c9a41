/** The disk of a node is lost. It comes back empty, as another one, and takes the place of the one that it was. */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { carryOut, idAt } from '../change.ts';
import { durationMs, type Fault, seconds } from './world.ts';

export const lostDisk: Fault = {
  kind: 'lost disk',
  lane: 'processes',
  async strike({ cluster, smallDisk, addressOf, diskLost, isLost, stop, pause, note }, random) {
    const node = random.pick(
      cluster.nodes.filter(({ name }) => typeof smallDisk === 'string' || name !== smallDisk.node),
    );
    const ms = durationMs(random, 3_000);
    const lost = await idAt(addressOf(node));
    note(`the disk of ${node.name} is lost, and it comes back without it after ${seconds(ms)}`);
    await node.kill('SIGKILL');
    diskLost(lost);
    rmSync(join(node.data, 'data'), { recursive: true, force: true });
    await pause(ms);
    await node.start();
    const joins = [await idAt(addressOf(node))];
    await carryOut(cluster.membership.address, { joins, leaves: [lost], down: [lost], isLost }, stop);
    note(`${node.name} has all again`);
  },
};
