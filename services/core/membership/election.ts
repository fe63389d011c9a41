/**
 * Which of several membership processes is the claimant: who holds a lease, a record outside of all of them that is
 * replaced by compare-and-swap (a Lease of Kubernetes). After leaderelection of Kubernetes' client-go, with a term.
 *
 * It decides, and does nothing: whoever runs it reads the lease, writes what is to be written, and says what came of it.
 *
 * I1 Nobody takes itself for the holder while somebody else does, as long as clocks run at about one pace; they need not
 *    agree. A holder counts from when it began to write, the others from when they first saw what it wrote.
 * I2 Each holding has a term of its own, above all before it and above that of the ring known to who takes it: to take
 *    the lease over and to raise its term is one write. So two claimants never issue rings of one version, not even where
 *    one of them was stopped for a while and does not know that it holds nothing any more.
 */

export interface Lease {
  /** Changes with every write. */
  readonly version: string;
  /** Empty: nobody. */
  readonly holder: string;
  readonly term: bigint;
}

export interface Election {
  readonly self: string;
  /** Of the lease as it was seen last, and since when it has been like this. */
  readonly seen: { readonly version: string; readonly at: number } | undefined;
  readonly held: { readonly term: bigint; readonly until: number } | undefined;
}

/** What the lease is to become, in place of the version that was read. */
export type LeaseWrite = Pick<Lease, 'holder' | 'term'>;

/** Others wait so long after the last renewal. Defaults of Kubernetes' own components, as the other two. */
export const LEASE_MS = 15_000;
/** Two thirds of it: the pace of two clocks may differ by so much. */
export const HELD_MS = 10_000;
export const LOOK_INTERVAL_MS = 2_000;

export function createElection(self: string): Election {
  return { self, seen: undefined, held: undefined };
}

/** After the lease was read at `now`. `ringTerm` is of the ring known here; 0: none. */
export function look(
  election: Election,
  lease: Lease,
  ringTerm: bigint,
  now: number,
): [Election, LeaseWrite | undefined] {
  const { self } = election;
  const seen = election.seen?.version === lease.version ? election.seen : { version: lease.version, at: now };
  // Also where it is not known to be held: the answer to a write may have been lost.
  if (lease.holder === self)
    return [
      { ...election, seen },
      { holder: self, term: lease.term },
    ];
  const isFree = lease.holder === '' || now - seen.at >= LEASE_MS;
  const next = { ...election, seen, held: undefined };
  return [next, isFree ? { holder: self, term: (lease.term > ringTerm ? lease.term : ringTerm) + 1n } : undefined];
}

/** After what `look` wanted was written; `begun` is when that began. */
export function written(election: Election, { term }: LeaseWrite, begun: number): Election {
  return { ...election, held: { term, until: begun + HELD_MS } };
}

/** It holds nothing any more: the lease is given back, or another one has written it. */
export function lost(election: Election): Election {
  return { ...election, held: undefined };
}

/** The term that it may issue rings of now; undefined: none. */
export function heldTerm({ held }: Election, now: number): bigint | undefined {
  return held !== undefined && now < held.until ? held.term : undefined;
}
