/** kill -9 of all nodes in one moment, now and then of the router and membership too. */
import { durationMs, type Fault, seconds } from './world.ts';

export const killAll: Fault = {
  kind: 'kill -9 of all nodes',
  lane: 'processes',
  async strike({ cluster, pause, note }, random) {
    const struck = random.chance(0.3) ? cluster.processes : cluster.nodes;
    const ms = durationMs(random, 2_000);
    note(`kill -9 of ${struck === cluster.nodes ? 'all nodes' : 'everything'}, away for ${seconds(ms)}`);
    await Promise.all(struck.map((each) => each.kill('SIGKILL')));
    await pause(ms);
    await Promise.all(struck.map((each) => each.start()));
  },
};
