/** The ring changes: nodes join, leave, and take the place of others, one change after the other or during it. */
import type { ChangeRequest } from '../../../services/core/membership/change-request.ts';
import { nodeById } from '../../../services/core/ring/ring.ts';
import { isIn } from '../claimant.ts';
import { every, type Fault } from './world.ts';

export const ringChanges: Fault = (world) => {
  const random = world.random('ring changes');
  const { claimant, nodes, profile, marks, history } = world;
  every(world, profile.ringChangeEveryMs, random, () => {
    const inside = nodes.filter(({ name }) => isIn(claimant.ring, name)).map(({ name }) => name);
    // One whose join was rolled back is asked to join again.
    const outside = nodes.filter(({ name }) => {
      const status = nodeById(claimant.ring, name)?.status;
      return status === undefined || (status === 'JOINING' && profile.secondThoughtEveryMs > 0);
    });
    const joining = outside.slice(0, 1 + random.below(2));
    const leaving = random.shuffled(inside).slice(0, 1);
    const dice = random.fraction();
    const joins = dice < 0.65 ? joining : [];
    const leaves = dice > 0.35 ? leaving : [];
    for (const node of joins) if (node.state === 'down') node.start();
    const request: ChangeRequest = {
      join: joins.map(({ name }) => ({ id: name, address: `${name}:1`, host: `host-${name}`, zone: `zone-${name}` })),
      leave: leaves,
      down: [],
    };
    if (!claimant.begin(request)) return;
    history.note(
      'change',
      'the ring',
      `${joins.map(({ name }) => `+${name}`).join(' ')} ${leaves.map((name) => `-${name}`).join(' ')}`,
    );
    if (joins.length > 0 && leaves.length > 0) marks.add('a node took the place of another');
  });
  every(world, profile.claimantCrashEveryMs, random, () => claimant.crash());
};
