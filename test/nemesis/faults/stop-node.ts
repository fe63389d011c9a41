/** A node stands still for a while: its connections stay, it answers nothing, and then goes on where it was. */
import { durationMs, type Fault, seconds } from './world.ts';

export const stopNode: Fault = {
  kind: 'stop of a node (SIGSTOP)',
  lane: 'processes',
  async strike({ cluster, pause, note }, random) {
    const node = random.pick(cluster.nodes);
    const ms = durationMs(random);
    note(`${node.name} is stopped for ${seconds(ms)}`);
    await node.kill('SIGSTOP');
    await pause(ms);
    await node.kill('SIGCONT');
  },
};
