/** kill -9 of one node, which is started again. */
import { durationMs, type Fault, seconds } from './world.ts';

export const killNode: Fault = {
  kind: 'kill -9 of a node',
  lane: 'processes',
  async strike({ cluster, pause, note }, random) {
    const node = random.pick(cluster.nodes);
    const ms = durationMs(random);
    note(`kill -9 of ${node.name}, away for ${seconds(ms)}`);
    await node.kill('SIGKILL');
    await pause(ms);
    await node.start();
  },
};
