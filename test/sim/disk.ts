/** When the disk of a node does what it was asked for: the schedule of its MemoryDisk. */
import type { DiskAction, DiskSchedule } from '../../services/platform/memory-engine.ts';
import type { SeededRandom } from './random.ts';
import type { Scheduler } from './scheduler.ts';

/** One action in so many takes so many times as long: long enough for others to overtake it. */
const stallChance = 0.02;
const stallFactor = 40;

export interface DiskConditions {
  /** Means. */
  readonly readMs: number;
  readonly writeMs: number;
  readonly syncMs: number;
}

export interface SimulatedDiskTimes {
  readonly schedule: DiskSchedule;
  /** 1: healthy. */
  slowness: number;
  /** Now and then it stalls, so long that others take the node for stopped. */
  stalls: boolean;
}

export function createDiskTimes(scheduler: Scheduler, random: SeededRandom, means: DiskConditions): SimulatedDiskTimes {
  const mean: Readonly<Record<DiskAction, number>> = { read: means.readMs, write: means.writeMs, sync: means.syncMs };
  const times: SimulatedDiskTimes = {
    slowness: 1,
    stalls: true,
    schedule(action, run) {
      const stall = random.chance(stallChance) && times.stalls ? stallFactor : 1;
      scheduler.after(times.slowness * stall * (0.01 + random.around(mean[action])), run);
    },
  };
  return times;
}
