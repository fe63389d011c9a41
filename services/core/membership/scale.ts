/**
 * Where storage nodes have numbers, as the pods of a StatefulSet: which of them join by themselves, and to how few they
 * may be scaled. The number of a node is read from its address, `storage-{}.svc:7411` with the number for `{}`.
 *
 * Not here: which nodes leave. That is an operator's word, or that of the Job of an upgrade.
 */
import type { NewNode } from '../ring/change.ts';
import { nodeById, type Ring } from '../ring/ring.ts';
import type { Goal } from './rebalance.ts';

/** So long those that are there wait for the others that are wanted, to join together: each change moves data. */
export const TOGETHER_MS = 30_000;

export function numberOf(pattern: string, address: string): number | undefined {
  const [before = '', after = ''] = pattern.split('{}');
  if (!address.startsWith(before) || !address.endsWith(after)) return undefined;
  const number = address.slice(before.length, address.length - after.length);
  return /^(0|[1-9]\d{0,5})$/.test(number) ? Number(number) : undefined;
}

/** How few pods there may be: as many as the highest number in the ring, or on the way into it, wants. */
export function drainedTo(ring: Ring, goal: Pick<Goal, 'joining'> | undefined, pattern: string): number {
  const inRing = ring.nodes.filter(({ status }) => status !== 'LEFT');
  const addresses = [...inRing, ...(goal?.joining ?? [])].map(({ address }) => address);
  return addresses.reduce((most, address) => Math.max(most, (numberOf(pattern, address) ?? -1) + 1), 0);
}

export interface Joining {
  /** Ids of those that were there last, and since when it has been these. */
  readonly ids: readonly string[];
  readonly since: number;
}

/**
 * Those that are to join now; none: wait. `outside` are nodes that answer and are not in the ring. One at the address of a
 * node that the ring still has is there in its place, which is no join.
 */
export function joinStep(
  before: Joining | undefined,
  ring: Ring,
  outside: readonly NewNode[],
  { pattern, wanted }: { readonly pattern: string; readonly wanted: number },
  now: number,
): [Joining | undefined, readonly NewNode[]] {
  const taken = new Set(ring.nodes.filter(({ id, status }) => isIn(ring, id) && status !== 'LEFT').map(addressOf));
  const joining = outside.filter(({ id, address }) => {
    const number = numberOf(pattern, address);
    return !isIn(ring, id) && !taken.has(address) && number !== undefined && number < wanted;
  });
  if (joining.length === 0) return [undefined, []];
  const ids = joining.map(({ id }) => id).sort();
  const state = before?.ids.join() === ids.join() ? before : { ids, since: now };
  const there = new Set([...taken, ...joining.map(addressOf)].map((address) => numberOf(pattern, address)));
  const allThere = Array.from({ length: wanted }, (_, number) => there.has(number)).every(Boolean);
  return [state, allThere || now - state.since >= TOGETHER_MS ? joining : []];
}

function isIn(ring: Ring, id: string): boolean {
  const status = nodeById(ring, id)?.status;
  return status !== undefined && status !== 'JOINING';
}

function addressOf({ address }: { readonly address: string }): string {
  return address;
}
