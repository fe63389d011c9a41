/**
 * What a home does for whoever collects (collection.ts): it says what its records cover too, and lets it go once that is
 * stable.
 *
 * I1 A record that is owed to somebody stays as it is.
 * I2 With a record that goes, what is remembered of the requests of its key is marked: their writes are covered. A late
 *    second attempt would else be taken for one that nobody has seen.
 */
import type { CoveredDots } from '../../proto/gen/cartwheel/replica/v1/replica.ts';
import { covers, settled } from '../core/stability/settled.ts';
import type { CausalContext } from '../core/versioning/causal-context.ts';
import { type StorageNode, wallMs } from './node.ts';
import { type Next, nothingHeld } from './record-store.ts';

type Home = Pick<StorageNode, 'clock' | 'requests' | 'store' | 'records' | 'metrics'>;

/** For which of the keys all of it is covered here, synced, and owed to nobody; by their place. */
export async function agreeOn(node: Home, { keys }: CoveredDots): Promise<number[]> {
  const agreed = await Promise.all(
    keys.map(async ({ key, clock }) => {
      const { held, committed } = await node.store.change(key, () => undefined, true);
      await committed;
      return held.owed.length === 0 && covers(held.record, node.records.decode(clock).clock, wallMs(node.clock));
    }),
  );
  return keys.flatMap((_, i) => (agreed[i] ? [i] : []));
}

/** Lets go of it, as far as it is covered still; says of which keys, by their place. */
export async function letGo(node: Home, { keys }: CoveredDots): Promise<number[]> {
  const gone = await Promise.all(keys.map(({ key, clock }) => letOneGo(node, key, node.records.decode(clock).clock)));
  return keys.flatMap((_, i) => (gone[i] ? [i] : []));
}

async function letOneGo(node: Home, key: Uint8Array, stable: CausalContext): Promise<boolean> {
  const requests = await node.requests.settle(key, stable);
  let isGone = false;
  await node.store.change(
    key,
    (held): Next | undefined => {
      const left = settled(held.record, stable, held.birth?.actor, wallMs(node.clock));
      if (left === undefined || held.owed.length > 0) return undefined;
      isGone = true;
      const isRecordGone = left.clock.length === 0;
      return isRecordGone
        ? { copy: nothingHeld, also: requests }
        : { copy: { ...held, record: left, bytes: node.records.encode(left) } };
    },
    false,
  );
  if (isGone) node.metrics.collected.add(1);
  return isGone;
}
