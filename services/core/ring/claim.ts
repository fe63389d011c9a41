/**
 * The first claim: who owns what in the first ring of a cluster. In this order it wants
 *   1. N distinct nodes for each partition,
 *   2. spread over hosts, then zones, as evenly as there are enough of them (claim-spread.ts),
 *   3. loads of nodes as even, by their weights, as 1 and 2 allow (claim-loads.ts),
 *   4. primaries as even as the rest allows (claim-primaries.ts),
 *   5. replica groups so mixed that the work of a failed node falls on many others (claim-mixing.ts).
 *
 * How: 3 fixes how many partitions each node owns. Laid end to end on a line, zone by zone and host by
 * host, these loads make N·Q places; partition p takes the places p, p+Q, p+2Q, …:
 *
 *     │ zone a            │ zone b            │ zone c            │
 *     │ n1      │ n2      │ n3      │ n4      │ n5      │ n6      │      N = 3
 *     ├──p──────────────┼─p+Q───────────────┼─p+2Q──────────────┤
 *
 * A node has at most Q places, so no partition meets it twice; a host or zone with w·Q places is met
 * floor(w) or ceil(w) times by each, which is 2. (Systematic sampling: Madow, 1949.) What is left is to
 * exchange places between partitions until 5 holds, and to choose who comes first.
 *
 * Deterministic: the same input gives the same owners.
 */

import { evenLoads } from './claim-loads.ts';
import { mixPlaces } from './claim-mixing.ts';
import { placePrimaries } from './claim-primaries.ts';
import { spreadOf } from './claim-spread.ts';
import { createMix, shuffle } from './mix.ts';
import { assertShape } from './ring.ts';

export interface ClaimNode {
  readonly id: string;
  readonly host: string;
  readonly zone: string;
  /** See ring.ts. */
  readonly weight?: number | undefined;
}

export interface ClaimInput {
  readonly nodes: readonly ClaimNode[];
  /** Q. */
  readonly partitions: number;
  /** N. */
  readonly replicas: number;
}

/** Rows of N indexes into `nodes`, one row a partition. Throws where Q or N is not allowed, or N > nodes. */
export function firstClaim(input: ClaimInput): Uint16Array {
  const { nodes, partitions, replicas } = input;
  assertShape(partitions, replicas, nodes.length);
  const mix = createMix(nodes.length * 31 + replicas);
  const spread = spreadOf(nodes, replicas);
  const places: number[] = [];
  const loads = evenLoads(spread, partitions, replicas, mix);
  for (const node of lineOf(spread.zones, mix)) {
    for (let i = 0; i < (loads[node] as number); i++) places.push(node);
  }
  const owners = new Uint16Array(partitions * replicas);
  const order = shuffle(
    Array.from({ length: partitions }, (_, i) => i),
    mix,
  );
  for (let partition = 0; partition < partitions; partition++) {
    for (let i = 0; i < replicas; i++) {
      owners[partition * replicas + i] = places[(order[partition] as number) + i * partitions] as number;
    }
  }
  mixPlaces(owners, spread, replicas, mix);
  placePrimaries(owners, spread.weights, replicas, mix);
  return owners;
}

/** The nodes in the order of the line: zones, hosts in them and nodes on them shuffled, each kept together. */
function lineOf(zones: ReturnType<typeof spreadOf>['zones'], mix: ReturnType<typeof createMix>): number[] {
  return shuffle([...zones], mix).flatMap((zone) =>
    shuffle([...zone.hosts], mix).flatMap((host) => shuffle([...host.nodes], mix)),
  );
}
