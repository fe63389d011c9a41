/** Every partition becomes two, with the owners that it has. It cannot be undone, so it comes only so often a run. */
import { doublePartitions } from '../change.ts';
import type { Fault } from './world.ts';

export const doubling: Fault = {
  kind: 'doubling of the partitions',
  lane: 'ring',
  mostPerRun: 2,
  async strike({ cluster, stop, note }) {
    note('the partitions are to double');
    const partitions = await doublePartitions(cluster.membership.address, stop);
    if (partitions !== undefined) note(`the partitions have doubled: ${partitions}`);
  },
};
