/** The disk of a node has no room left. The node must end; it comes back when there is room again. */
import { durationMs, type Fault, seconds } from './world.ts';

export const fullDisk: Fault = {
  kind: 'full disk',
  lane: 'processes',
  obstacle: ({ smallDisk }) => (typeof smallDisk === 'string' ? smallDisk : undefined),
  async strike({ cluster, smallDisk, pause, note, mayFail }, random) {
    const node = cluster.nodes.find(({ name }) => typeof smallDisk !== 'string' && name === smallDisk.node);
    if (node === undefined || typeof smallDisk === 'string') return;
    const ms = durationMs(random, 4_000);
    note(`the disk of ${node.name} is full for ${seconds(ms)}`);
    const over = mayFail(node);
    await smallDisk.fill();
    await pause(ms);
    await smallDisk.free();
    await node.kill('SIGKILL');
    over();
    await node.start();
  },
};
