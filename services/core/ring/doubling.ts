/**
 * Twice as many partitions: each becomes two halves of its range of the hash space, with the owners that it had.
 *
 *     Q     p          [a b c]
 *     2 Q   2p, 2p+1   [a b c] [a b c]
 *
 * I1 No key changes its homes, nor the order of its preference list: a walk upwards meets each row twice, and names
 *    nobody the second time. So no data moves, and it does not matter by which of the two rings an operation was placed:
 *    no fence moves (fences.ts).
 * I2 Nothing is pending meanwhile. Goals and reports speak of partitions by their numbers, which are others afterwards.
 */
import { rowOf } from './plan.ts';
import { createRing, PARTITIONS_MAX, type Ring } from './ring.ts';

/** The next ring, with sequence + 1. Throws where there are PARTITIONS_MAX already, or partitions are on their way. */
export function doubled(ring: Ring): Ring {
  if (ring.partitions >= PARTITIONS_MAX) throw new Error(`a ring has at most ${PARTITIONS_MAX} partitions`);
  if (ring.pending.size > 0) throw new Error(`${ring.pending.size} partitions are on their way`);
  return createRing({
    ...ring,
    version: { term: ring.version.term, sequence: ring.version.sequence + 1n },
    partitions: 2 * ring.partitions,
    owners: rowsDoubled(ring),
    pendingSince: new Map(),
  });
}

/** Each row twice. */
export function rowsDoubled({ owners, partitions, replicas }: Pick<Ring, 'owners' | 'partitions' | 'replicas'>) {
  const rows = new Uint16Array(2 * owners.length);
  for (let partition = 0; partition < partitions; partition++) {
    const row = rowOf(owners, partition, replicas);
    rows.set([...row, ...row], 2 * partition * replicas);
  }
  return rows;
}
