/**
 * How many partitions each node owns: as even as the spread allows. All nodes rise to one level, each as many partitions
 * with a step of it as it has weight; a host or zone that reaches its bound holds its nodes there, and the others rise
 * further. No load could then be moved from a node to one with two fewer by unit of weight without breaking a bound.
 *
 * Who gets one more than others where it does not come out even: with `present` loads, whoever would have to give
 * most away otherwise, so that least has to move.
 */
import type { Spread } from './claim-spread.ts';
import { type Mix, shuffle } from './mix.ts';

/** By node; the sum is partitions × replicas, and none is above `partitions`. */
export function evenLoads(
  spread: Spread,
  partitions: number,
  replicas: number,
  mix: Mix,
  present?: Uint32Array,
): Uint32Array {
  const loads = new Uint32Array(spread.hostOf.length);
  const whole = group(
    spread.zones.map((zone) =>
      group(
        zone.hosts.map((host) =>
          group(
            host.nodes.map((node) =>
              leaf(node, spread.weights[node] as number, partitions, loads, present?.[node] ?? 0),
            ),
            host.least * partitions,
            host.most * partitions,
            mix,
          ),
        ),
        zone.least * partitions,
        zone.most * partitions,
        mix,
      ),
    ),
    0,
    partitions * replicas,
    mix,
  );
  whole.assign(partitions * replicas, partitions);
  return loads;
}

interface Part {
  /** What its nodes own now. */
  readonly present: number;
  /** What it holds when every node in it is at `level`, as far as its bounds allow. */
  heldAt(level: number): number;
  /** Shares exactly `total` out among its nodes; no level is above `highest`. */
  assign(total: number, highest: number): void;
}

function leaf(node: number, weight: number, partitions: number, loads: Uint32Array, present: number): Part {
  return {
    present,
    heldAt: (level) => Math.min(level * weight, partitions),
    assign: (total) => {
      loads[node] = total;
    },
  };
}

function group(parts: readonly Part[], least: number, most: number, mix: Mix): Part {
  const free = (level: number) => parts.reduce((total, part) => total + part.heldAt(level), 0);
  return {
    present: parts.reduce((total, part) => total + part.present, 0),
    heldAt: (level) => Math.min(Math.max(free(level), least), most),
    assign: (total, highest) => {
      const level = highestLevel(free, total, highest);
      const shares = parts.map((part) => part.heldAt(level));
      let left = total - free(level);
      // At the next level the parts would hold more than `total`: each rises as far as there is something left.
      const room = parts.map((part, i) => part.heldAt(level + 1) - (shares[i] as number));
      const surplus = parts.map((part, i) => part.present - (shares[i] as number));
      const order = shuffle([...parts.keys()], mix).sort((a, b) => (surplus[b] as number) - (surplus[a] as number));
      while (left > 0) {
        const before = left;
        for (const i of order) {
          if (left === 0 || (room[i] as number) === 0) continue;
          room[i] = (room[i] as number) - 1;
          shares[i] = (shares[i] as number) + 1;
          left -= 1;
        }
        if (left === before) throw new Error(`${left} of ${total} places find no node`);
      }
      parts.forEach((part, i) => {
        part.assign(shares[i] as number, highest);
      });
    },
  };
}

/** The highest level in 0..highest at which no more than `total` is held. */
function highestLevel(held: (level: number) => number, total: number, highest: number): number {
  let low = 0;
  let high = highest;
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (held(middle) <= total) low = middle;
    else high = middle - 1;
  }
  return low;
}
