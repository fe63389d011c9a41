/** Connections break though both ends and the network are well: some, several times. */
import type { Fault } from './world.ts';

export const resets: Fault = {
  kind: 'connection resets',
  lane: 'network',
  async strike({ cluster, network, places, pause, note }, random) {
    const times = 1 + random.below(6);
    let broken = 0;
    for (let i = 0; i < times; i++) {
      const to = random.pick(cluster.nodes).name;
      const from = random.chance(0.4) ? places : [random.pick(places)];
      for (const place of from) broken += network.reset(place, to);
      await pause(random.around(300));
    }
    note(`${broken} connections were reset`);
  },
};
