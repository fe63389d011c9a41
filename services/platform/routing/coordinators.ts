/**
 * Who can run an operation of a key: its homes, then the first fallbacks, which stand in when no home answers
 * (DeCandia et al. 2007, 4.6). For routers, and for clients that save the hop.
 */
import type { Hash64 } from '../../core/ports.ts';
import type { RequestLimits } from '../../core/requests/limits.ts';
import { locate } from '../../core/requests/validate.ts';
import { partitionOfStorageKey } from '../../core/ring/partition.ts';
import { preferenceList } from '../../core/ring/preference-list.ts';
import type { Ring, RingNode } from '../../core/ring/ring.ts';

/** Beyond so many more than N an operation has used up its time before they would be asked. */
const fallbacksMax = 3;

/** Addresses, in the order in which to try them. Throws the Failure of a key that is none. */
export function coordinatorsOf(
  ring: Ring,
  namespace: string,
  key: Uint8Array,
  validation: { readonly hash: Hash64; readonly limits: RequestLimits },
): readonly string[] {
  const { storageKey } = locate(namespace, key, validation);
  const preference = preferenceList(ring, partitionOfStorageKey(storageKey, ring.partitions));
  return preference.slice(0, ring.replicas + fallbacksMax).map((index) => (ring.nodes[index] as RingNode).address);
}
