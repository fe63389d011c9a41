/** SIGTERM: a node drains, ends as it should, and is started again. */
import { durationMs, type Fault, seconds } from './world.ts';

export const restartNode: Fault = {
  kind: 'clean restart of a node (SIGTERM)',
  lane: 'processes',
  async strike({ cluster, pause, note }, random) {
    const node = random.pick(cluster.nodes);
    const ms = durationMs(random, 2_000);
    note(`SIGTERM to ${node.name}, away for ${seconds(ms)}`);
    await node.kill('SIGTERM');
    await pause(ms);
    await node.start();
  },
};
