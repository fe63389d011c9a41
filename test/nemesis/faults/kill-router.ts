/** The router dies, or ends as it should, and is started again. */
import { durationMs, type Fault, seconds } from './world.ts';

export const killRouter: Fault = {
  kind: 'kill of the router',
  lane: 'processes',
  async strike({ cluster, pause, note }, random) {
    const signal = random.chance(0.7) ? 'SIGKILL' : 'SIGTERM';
    const ms = durationMs(random, 3_000);
    note(`${signal} to the router, away for ${seconds(ms)}`);
    await cluster.router.kill(signal);
    await pause(ms);
    await cluster.router.start();
  },
};
