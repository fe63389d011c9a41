/** Every kind of fault there is. */
import { cut } from './cut.ts';
import { doubling } from './doubling.ts';
import { failingDisk } from './failing-disk.ts';
import { fullDisk } from './full-disk.ts';
import { killAll } from './kill-all.ts';
import { killMembership } from './kill-membership.ts';
import { killNode } from './kill-node.ts';
import { killRouter } from './kill-router.ts';
import { lostDisk } from './lost-disk.ts';
import { oneWayLoss } from './one-way-loss.ts';
import { resets } from './resets.ts';
import { restartNode } from './restart-node.ts';
import { ringChange } from './ring-change.ts';
import { slowDisk } from './slow-disk.ts';
import { slowLink } from './slow-link.ts';
import { stopNode } from './stop-node.ts';
import type { Fault } from './world.ts';

export const allFaults: readonly Fault[] = [
  killNode,
  killAll,
  stopNode,
  restartNode,
  killRouter,
  killMembership,
  fullDisk,
  failingDisk,
  slowDisk,
  cut,
  oneWayLoss,
  slowLink,
  resets,
  doubling,
];

/** Only where they are asked for: they take a minute and more each, and spare nodes. */
export const ringFaults: readonly Fault[] = [ringChange, lostDisk];
