/**
 * Which fault comes when, drawn from the seed: in each lane one after the other, with a gap, every kind once before
 * any comes again.
 */
import type { SeededRandom } from '../sim/random.ts';
import { countOne } from './counts.ts';
import type { Fault, World } from './faults/world.ts';

const gapMs = { min: 200, max: 3_000 };

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
    for (const fault of random.shuffled(faults)) {
      await world.pause(random.between(gapMs.min, gapMs.max));
      if (over.aborted) return;
      countOne(counts, fault.kind);
      await fault.strike(world, random.fork(`${fault.kind} ${round}`));
    }
  }
}
