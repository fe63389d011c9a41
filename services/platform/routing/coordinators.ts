/**
 * Who can run an operation of a key: its homes, then the first fallbacks, which stand in when no home answers
 * (DeCandia et al. 2007, 4.6). For routers, and for clients that save the hop.
 */
import { partitionOfStorageKey } from '../../core/ring/partition.ts';
import { preferenceList } from '../../core/ring/preference-list.ts';
import type { Ring, RingNode } from '../../core/ring/ring.ts';

/** Beyond so many more than N an operation has used up its time before they would be asked. */
const fallbacksMax = 3;

/** In the order of the preference list. */
export interface Coordinators {
  readonly homes: readonly RingNode[];
  readonly fallbacks: readonly RingNode[];
}

/** By partition; made at the first question. */
const knownOf = new WeakMap<Ring, Coordinators[]>();

export function coordinatorsOf(ring: Ring, storageKey: Uint8Array): Coordinators {
  const partition = partitionOfStorageKey(storageKey, ring.partitions);
  let known = knownOf.get(ring);
  if (known === undefined) {
    known = [];
    knownOf.set(ring, known);
  }
  known[partition] ??= coordinatorsIn(ring, partition);
  return known[partition];
}

function coordinatorsIn(ring: Ring, partition: number): Coordinators {
  const preference = preferenceList(ring, partition);
  const nodes = preference.slice(0, ring.replicas + fallbacksMax).map((index) => ring.nodes[index] as RingNode);
  return { homes: nodes.slice(0, ring.replicas), fallbacks: nodes.slice(ring.replicas) };
}
