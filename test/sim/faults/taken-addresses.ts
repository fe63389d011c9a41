/**
 * A node dies, and for a while its name leads to the address of another one, as where pods get each other's addresses and a name
 * service is behind; often until after the node is back, which nobody can reach then.
 */
import { isIn } from '../claimant.ts';
import { every, type Fault, survivorsOf } from './world.ts';

const backMs = { min: 20, max: 400 };
const ledMs = { min: 20, max: 700 };

export const takenAddresses: Fault = (world) => {
  const random = world.random('taken addresses');
  const { claimant, history, network, nodes, profile, scheduler } = world;
  every(world, profile.takenAddressEveryMs, random, () => {
    const [lost, other] = random.shuffled(nodes.filter(({ state }) => state === 'up'));
    if (lost === undefined || other === undefined) return;
    if (!isIn(claimant.ring, lost.name) || network.at(lost.name) !== lost.name) return;
    lost.crash(survivorsOf(lost, random));
    history.note('leads to', lost.name, other.name);
    const leadBack = network.lead(lost.name, other.name);
    scheduler.after(random.between(ledMs.min, ledMs.max), leadBack);
    scheduler.after(random.between(backMs.min, backMs.max), () => {
      if (lost.state === 'down') lost.start();
    });
  });
};
