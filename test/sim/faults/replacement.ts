import type { ChangeRequest } from '../../../services/core/membership/change-request.ts';
import type { SimulatedNode } from '../node.ts';
import type { World } from './world.ts';

/**
 * Has a node that was never in the ring take the place of one that is taken for lost. Undefined: there is no such node, or
 * another change is under way.
 */
export function replace({ claimant, nodes }: World, lost: SimulatedNode): SimulatedNode | undefined {
  const empty = nodes.find(({ name }) => claimant.ring.nodes.every(({ id }) => id !== name));
  if (empty === undefined) return undefined;
  const { name } = empty;
  const request: ChangeRequest = {
    join: [{ id: name, address: `${name}:1`, host: `host-${name}`, zone: `zone-${name}` }],
    leave: [lost.name],
    down: [lost.name],
  };
  return claimant.begin(request) ? empty : undefined;
}
