/**
 * Which fault comes when, drawn from the seed: in each lane one after the other, with a gap, every kind once before
 * any comes again, and some kinds only so often.
 */
import type { SeededRandom } from '../sim/random.ts';
import { countOne } from './counts.ts';
import type { Fault, World } from './faults/world.ts';

/** The ring is changed at any step of the other faults, and not as soon as the run begins. */
const gapMs: Readonly<Record<Fault['lane'], { readonly min: number; readonly max: number }>> = {
  processes: { min: 200, max: 3_000 },
  network: { min: 200, max: 3_000 },
  ring: { min: 1_000, max: 20_000 },
};

/** Resolves when the faults are over, and all trouble with them. */
export async function runFaults(
  world: World,
  faults: readonly Fault[],
  random: SeededRandom,
  over: AbortSignal,
  counts: Map<string, number>,
): Promise<void> {
  const lanes = [...new Set(faults.map(({ lane }) => lane))];
  await Promise.all(
    lanes.map((lane) => {
      const own = faults.filter((fault) => fault.lane === lane);
      return runLane(world, own, random.fork(lane), over, counts);
    }),
  );
}

async function runLane(
  world: World,
  faults: readonly Fault[],
  random: SeededRandom,
  over: AbortSignal,
  counts: Map<string, number>,
): Promise<void> {
  for (let round = 0; !over.aborted; round++) {
    const left = faults.filter(({ mostPerRun = Number.POSITIVE_INFINITY }) => round < mostPerRun);
    if (left.length === 0) return;
    for (const fault of random.shuffled(left)) {
      await world.pause(random.between(gapMs[fault.lane].min, gapMs[fault.lane].max));
      if (over.aborted) return;
      countOne(counts, fault.kind);
      await fault.strike(world, random.fork(`${fault.kind} ${round}`));
    }
  }
}
