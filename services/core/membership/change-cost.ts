/**
 * What a change costs those that take replicas over: bytes, room on their disks, and time. From what nodes have just said
 * of themselves. Of a node that says nothing neither room nor pace is known, and nothing is refused for it.
 */
import type { FlightLimits } from '../ring/change.ts';
import type { Plan } from '../ring/plan.ts';

/** What a node has for it. */
export interface NodeMeans {
  readonly freeBytes: number | undefined;
  /** That its background may move now. */
  readonly bytesPerSecond: number | undefined;
}

/** What one node takes over. */
export interface Taking {
  /** Of the ring's nodes. */
  readonly node: number;
  readonly replicas: number;
  readonly bytes: number;
  /** On its disk, meanwhile. */
  readonly wantedBytes: number;
  readonly freeBytes: number | undefined;
}

export interface ChangeCost {
  /** In the order of the nodes. */
  readonly takings: readonly Taking[];
  /** Undefined: the pace of a node that takes something over is not known. */
  readonly etaMs: number | undefined;
}

export interface StepPace {
  readonly limits: FlightLimits;
  /** So long the claimant takes over the rings of partitions in flight, whatever is in them. */
  readonly stepsMs: number;
}

/** While RocksDB compacts what has come it keeps some of it twice. What a node gives up it has until the end. */
const roomFactor = 1.25;

/** `meansOf`: by index of the ring's nodes. */
export function costOf(plan: Plan, meansOf: (node: number) => NodeMeans, pace: StepPace): ChangeCost {
  const takings = [...new Set(plan.moves.map(({ to }) => to))]
    .sort((a, b) => a - b)
    .map((node): Taking => {
      const moves = plan.moves.filter(({ to }) => to === node);
      const bytes = moves.reduce((sum, move) => sum + move.bytes, 0);
      const { freeBytes } = meansOf(node);
      return { node, replicas: moves.length, bytes, wantedBytes: bytes * roomFactor, freeBytes };
    });
  return { takings, etaMs: etaOf(plan, takings, meansOf, pace) };
}

/** Those whose disks have not the room. */
export function shortOfRoom({ takings }: ChangeCost): readonly Taking[] {
  return takings.filter(({ wantedBytes, freeBytes }) => freeBytes !== undefined && wantedBytes > freeBytes);
}

/** As long as the slowest node needs for its bytes, or the claimant for its steps. */
function etaOf(
  plan: Plan,
  takings: readonly Taking[],
  meansOf: (node: number) => NodeMeans,
  { limits, stepsMs }: StepPace,
): number | undefined {
  let slowestMs = 0;
  for (const { node, bytes } of takings) {
    const { bytesPerSecond } = meansOf(node);
    if (bytes > 0 && !bytesPerSecond) return undefined;
    if (bytes > 0) slowestMs = Math.max(slowestMs, (bytes * 1_000) / (bytesPerSecond as number));
  }
  const touched = new Map<number, number>();
  for (const node of plan.moves.flatMap(({ from, to }) => [from, to])) touched.set(node, (touched.get(node) ?? 0) + 1);
  const busiest = Math.max(0, ...touched.values());
  const flights = Math.max(plan.partitions / limits.partitionsInFlight, busiest / limits.partitionsPerNode);
  return Math.max(slowestMs, Math.ceil(flights) * stepsMs);
}
