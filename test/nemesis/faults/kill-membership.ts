/** The membership process dies, or ends as it should, and is started again. */
import { durationMs, type Fault, seconds } from './world.ts';

export const killMembership: Fault = {
  kind: 'kill of membership',
  lane: 'processes',
  async strike({ cluster, pause, note }, random) {
    const signal = random.chance(0.7) ? 'SIGKILL' : 'SIGTERM';
    const ms = durationMs(random, 3_000);
    note(`${signal} to membership, away for ${seconds(ms)}`);
    await cluster.membership.kill(signal);
    await pause(ms);
    await cluster.membership.start();
  },
};
