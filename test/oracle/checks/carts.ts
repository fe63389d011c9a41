/** No add-to-cart is ever lost (P3), told without a look at dots or contexts: by the items in the values. */
import { describe, isKept, itemsOf, type Ledger } from '../ledger.ts';
import { Violation } from '../violation.ts';

const noBytes = new Uint8Array(0);

/** `values`: all siblings of the cart, once faults are over. */
export function checkCart(ledger: Ledger, key: string, values: readonly Uint8Array[]): void {
  const items = new Set(values.flatMap((value) => itemsOf(value)));
  for (const write of ledger.writesOf(key)) {
    if (write.item === undefined || write.outcome !== 'acknowledged' || !isKept(write)) continue;
    // Those too that it took over from others, whatever has become of these: a cart only grows.
    const missing = [write.item, ...itemsOf(write.value ?? noBytes)].find((item) => !items.has(item));
    if (missing === undefined) continue;
    throw new Violation('P3', `the item ${missing} is not in the cart any more: ${describe(write)}`, 'lost');
  }
  for (const item of ledger.itemsDropped(key)) {
    if (!items.has(item)) throw new Violation('P3', `the item ${item} is not in the cart ${key} any more`, 'lost');
  }
}
