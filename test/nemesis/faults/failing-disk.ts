/** The disk of a node says EIO to each sync, or to each write. The node must end, and not acknowledge before. */
import { EIO } from '../disks.ts';
import { durationMs, type Fault, seconds } from './world.ts';

export const failingDisk: Fault = {
  kind: 'failing disk (EIO)',
  lane: 'processes',
  obstacle: ({ disks }) => disks.obstacle,
  async strike({ cluster, disks, pause, note, mayFail }, random) {
    const node = random.pick(cluster.nodes);
    const ms = durationMs(random, 3_000);
    const syncs = random.chance(0.6);
    note(`EIO from each ${syncs ? 'sync' : 'write'} of ${node.name} for ${seconds(ms)}`);
    const over = mayFail(node);
    disks.trouble(node.name, syncs ? { syncError: EIO } : { writeError: EIO });
    await pause(ms);
    disks.trouble(node.name, {});
    await node.kill('SIGKILL');
    over();
    await node.start();
  },
};
