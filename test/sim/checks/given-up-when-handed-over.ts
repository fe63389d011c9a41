/**
 * P3, on the fallback itself: it gives a record up only when the home it was owed to has got all of it.
 *
 * Looks at what nodes write to their disks. Of a record that this life of the fallback has not written itself
 * nothing is known (a crash may have taken what it wrote before); what a home has written may be lost again, but then
 * the home had not acknowledged it.
 */
import {
  type CausalContext,
  contains,
  type Dot,
  printContext,
} from '../../../services/core/versioning/causal-context.ts';
import type { KeyRecord } from '../../../services/core/versioning/record.ts';
import { Violation } from '../../oracle/violation.ts';
import type { NodeLife } from '../births.ts';
import { dotsOf } from './cuts.ts';

export interface HandoffCheck {
  stored(life: NodeLife, key: string, owed: readonly string[], record: KeyRecord): void;
  dropped(life: NodeLife, key: string): void;
}

/**
 * `cut`: the dot was cut from some clock, so a home may have got it though its clock does not contain it. `lost`: damage
 * to a disk has taken some of what the node had.
 */
export function createHandoffCheck(
  cut: (key: string, dot: Dot) => boolean,
  lost: (node: string, key: string) => boolean,
): HandoffCheck {
  const latest = new Map<string, { readonly life: number; readonly owed: readonly string[]; clock: CausalContext }>();
  /** What nodes had that gave it up in turn: a home that has left the ring, say, to those that are homes now. */
  const givenUp = new Map<string, CausalContext>();
  return {
    stored({ node, number }, key, owed, { clock }) {
      latest.set(`${node} ${key}`, { life: number, owed, clock });
    },

    dropped({ node, number }, key) {
      const dropped = latest.get(`${node} ${key}`);
      latest.delete(`${node} ${key}`);
      if (dropped !== undefined) givenUp.set(`${node} ${key}`, dropped.clock);
      if (dropped === undefined || dropped.life !== number || lost(node, key)) return;
      for (const home of dropped.owed) {
        if (lost(home, key)) continue;
        const got = latest.get(`${home} ${key}`)?.clock ?? givenUp.get(`${home} ${key}`) ?? [];
        if ([...dotsOf(dropped.clock)].every((dot) => contains(got, dot) || cut(key, dot))) continue;
        const clocks = `${printContext(dropped.clock)}, and ${home} has ${printContext(got)}`;
        throw new Violation('P3', `${node} gave up ${key}, owed to ${home}: its clock is ${clocks}`, 'lost');
      }
    },
  };
}
