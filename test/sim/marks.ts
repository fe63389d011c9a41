/**
 * Situations that have names, because the promises are about them: over the seeds of `npm test` each must
 * have happened at least once, or the simulation does not test what it says it tests.
 */
export const marks = [
  'a crash lost unsynced writes',
  'a crash left some of the unsynced writes',
  'a crash lost what only a memory had',
  'a write was acknowledged from memories alone',
  'all nodes lost their power at once',
  'a clean restart minted under the kept birth',
  'a crash ended a birth',
  'a directory was touched while its node was stopped',
  'a disk failed, and its node stopped',
  'a retry met two coordinators',
  'a known request id was answered with its dot',
  'a write of unknown outcome turned out to be applied',
  'a write said to be not applied',
  'a replica write arrived twice',
  'an operation was cancelled',
  'a coordinator was told that nobody waits any more',
  'a message was lost',
  'a message was lost to a partition',
  'a message was lost to a one-way partition',
  'a read was hedged',
  'a read was answered with what another one was',
  'a fallback took part in what had to be in several zones',
  'a read repaired a replica',
  'a read saw three siblings',
  'a put survived a concurrent delete',
  'a read found nothing but a context',
  'a read could not show its session',
  'an operation was forwarded',
  'a clock was cut',
  'a value had expired',
  'a wall clock jumped backwards',
  'a second attempt found its write known',
  'a write was tried again when all was over',
  'a silent node was suspected',
  'a suspected node was trusted again',
  'a fallback stood in for a home',
  'a fallback coordinated a write',
  'a write was acknowledged by fallbacks alone',
  'a read rested on a fallback',
  'a hint was delivered',
  'an exchange mended a replica',
  'a record was handed over without a hint',
  'a record went with its last hint',
  'hints went beyond their limit',
  'a replica knew a newer ring',
  'a replica was in a later era',
  'a replica had what the reader knew',
  'a record was let go',
  'a node that had left came back out of date',
  'a clock was shortened',
  'a pending owner missed a write',
  'a partition was taken over',
  'a record was handed back',
  'a change of the ring came to its end',
  'a change of the ring was begun during another',
  'a change of the ring was rolled back',
  'a node took the place of another',
  'a disk was lost, and its node replaced',
  'a node that was taken for lost came back',
  'a node was taken for lost while it ran',
  'a node that was marked down was taken back',
  'a node that had left was taken away',
  'the claimant crashed during a change',
  'the partitions doubled',
  'a node was refused that had the address of another',
  'damaged files lost records of a node',
  'a node pulled again what damage had taken',
  'a record was damaged',
  'a record that was owed to a home was damaged',
  'a damaged record was repaired',
  'an acknowledged write was overwritten by one of unknown outcome',
  'an acknowledged value was beaten',
  'a delete beat a value that it had not seen',
  'a write was made later than its wall clock said',
] as const;

export type Mark = (typeof marks)[number];

export interface Marks {
  add(mark: Mark): void;
  readonly seen: ReadonlySet<Mark>;
}

export function createMarks(): Marks {
  const seen = new Set<Mark>();
  return { seen, add: (mark) => seen.add(mark) };
}
