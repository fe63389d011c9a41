/** No add-to-cart is ever lost (P3), told without a look at dots or contexts: by the items in the values. */
import { describe, itemsOf, type Ledger } from '../ledger.ts';
import { Violation } from '../violation.ts';

/** `values`: all siblings of the cart, once faults are over. */
export function checkCart(ledger: Ledger, key: string, values: readonly Uint8Array[]): void {
  const items = new Set(values.flatMap((value) => itemsOf(value)));
  for (const write of ledger.writesOf(key)) {
    if (write.item === undefined || write.outcome !== 'acknowledged' || items.has(write.item)) continue;
    throw new Violation('P3', `the item ${write.item} is not in the cart any more: ${describe(write)}`, 'lost');
  }
  for (const item of ledger.itemsDropped(key)) {
    if (!items.has(item)) throw new Violation('P3', `the item ${item} is not in the cart ${key} any more`, 'lost');
  }
}
