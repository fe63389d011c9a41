/** Each sync of a node takes long. */
import { durationMs, type Fault, seconds } from './world.ts';

export const slowDisk: Fault = {
  kind: 'slow disk',
  lane: 'processes',
  obstacle: ({ disks }) => disks.obstacle,
  async strike({ cluster, disks, pause, note }, random) {
    const node = random.pick(cluster.nodes);
    const ms = durationMs(random);
    const syncDelayMs = Math.ceil(random.between(20, 800));
    note(`each sync of ${node.name} takes ${syncDelayMs} ms longer for ${seconds(ms)}`);
    disks.trouble(node.name, { syncDelayMs });
    await pause(ms);
    disks.trouble(node.name, {});
  },
};
