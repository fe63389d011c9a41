/**
 * A node is told that its disk is an older image of itself (gossip.ts finds that out): from then on it mints
 * under new births. Often, where it happens at all: that makes clocks long, so that they must be cut (P14).
 */
import { every, type Fault } from './world.ts';

export const restoredNotices: Fault = (world) => {
  const random = world.random('restored notices');
  every(world, world.profile.restoredNoticeEveryMs, random, () => random.pick(world.nodes).renewBirths());
};
