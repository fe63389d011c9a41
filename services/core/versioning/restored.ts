/**
 * What comes into the place of a copy of a record that is not whole any more, from what the other nodes have of its key.
 *
 * I1 Every other home has said what it has. To take what one of them says would show again what another knows to be
 *    gone, and what this copy had acknowledged together with one of them would be missing where only this copy is asked.
 *    What all of them have is all that this copy had, but for what it alone had: that is lost with it.
 * I2 Its birth does not come back (birth.ts): this copy may have minted dots that nobody else has seen, which the clock
 *    of what comes does not contain, and would be minted once more. The next write here makes a new birth.
 */
import { type KeyRecord, merge } from './record.ts';

/**
 * `homes`: the other ones, but for those that are DOWN: nobody waits for what only they have. `said`: by node, fallbacks
 * too. Undefined: it cannot be told yet.
 */
export function restored(homes: readonly string[], said: ReadonlyMap<string, KeyRecord>): KeyRecord | undefined {
  if (homes.length === 0 || homes.some((home) => !said.has(home))) return undefined;
  return [...said.values()].reduce(merge);
}
