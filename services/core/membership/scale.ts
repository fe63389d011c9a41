/**
 * Where storage nodes have numbers, as the pods of a StatefulSet: which of them join by themselves, which take the place of
 * one whose volume is lost, and to how few they may be scaled. The number of a node is read from its address,
 * `storage-{}.svc:7411` with the number for `{}`. There is one pod of a number at a time: who answers there now is there in
 * place of whoever was.
 *
 * Not here: which nodes leave. That is an operator's word, or that of the Job of an upgrade.
 */
import type { NewNode } from '../ring/change.ts';
import { nodeById, type Ring } from '../ring/ring.ts';
import type { Goal } from './rebalance.ts';

/** Where it is noted how many pods there are to be, and how few there may be (services/membership/scaling.ts). */
export const WANTED = 'cartwheel/wanted';
export const DRAINED_TO = 'cartwheel/drained-to';

/** So long those that are there wait for the others that are wanted, to join together: each change moves data. */
export const TOGETHER_MS = 30_000;

/** So long a node with an empty volume answers in the place of another one before that one is given up. */
export const SURELY_LOST_MS = 30_000;

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

export interface Replacing {
  readonly leaves: string;
  readonly joins: string;
  readonly since: number;
}

/**
 * One that is to take the place of another one now. Only where all other nodes of the ring answer: of two volumes that are
 * lost at once an acknowledged write may have been on both alone, and who is silent may come back with it.
 */
export function replacementStep(
  before: Replacing | undefined,
  ring: Ring,
  outside: readonly NewNode[],
  answers: (id: string) => boolean,
  pattern: string,
  now: number,
): [Replacing | undefined, Replacing | undefined] {
  const nodes = ring.nodes.filter(({ status }) => status !== 'LEFT' && status !== 'JOINING');
  const inPlaceOf = ({ address }: NewNode) =>
    outside.find((other) => other.address === address && !isIn(ring, other.id));
  const lost = nodes.find(
    (node) => !answers(node.id) && numberOf(pattern, node.address) !== undefined && inPlaceOf(node),
  );
  const joins = lost && inPlaceOf(lost);
  if (lost === undefined || joins === undefined) return [undefined, undefined];
  const isSame = before?.leaves === lost.id && before.joins === joins.id;
  const state = isSame ? before : { leaves: lost.id, joins: joins.id, since: now };
  const areOthersThere = nodes.every(({ id }) => id === lost.id || answers(id));
  return [state, areOthersThere && now - state.since >= SURELY_LOST_MS ? state : undefined];
}

function isIn(ring: Ring, id: string): boolean {
  const status = nodeById(ring, id)?.status;
  return status !== undefined && status !== 'JOINING';
}

function addressOf({ address }: { readonly address: string }): string {
  return address;
}
