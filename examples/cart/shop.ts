/**
 * Carts in a Cartwheel store. Every change reads the cart, merges its siblings, changes the result and writes it
 * with the context of what was read: so it replaces what this shopper saw, and never what somebody else wrote
 * meanwhile. A cart can always be written to, whichever nodes are away; that is the whole point.
 */
import { randomUUID } from 'node:crypto';
import type { CartwheelClient, Sibling } from '../../client/index.ts';
import { type Cart, decode, emptyCart, encode, itemsOf, merge, withItem, withoutItem } from './cart.ts';

export interface Shop {
  add(cartId: string, item: string): Promise<void>;
  remove(cartId: string, item: string): Promise<void>;
  /** Item → how many of it. */
  view(cartId: string): Promise<ReadonlyMap<string, number>>;
}

export function openShop(client: Pick<CartwheelClient, 'get' | 'update'>): Shop {
  const change = async (cartId: string, how: (cart: Cart) => Cart): Promise<void> => {
    await client.update(keyOf(cartId), (siblings) => encode(how(mergedCart(siblings))));
  };
  return {
    add: (cartId, item) => {
      const id = randomUUID(); // once for this adding, however often the update is tried
      return change(cartId, (cart) => withItem(cart, item, id));
    },
    remove: (cartId, item) => change(cartId, (cart) => withoutItem(cart, item)),
    view: async (cartId) => itemsOf(mergedCart((await client.get(keyOf(cartId))).siblings)),
  };
}

export function keyOf(cartId: string): string {
  return `cart/${cartId}`;
}

export function mergedCart(siblings: readonly Sibling[]): Cart {
  return siblings.map((sibling) => decode(sibling.value)).reduce(merge, emptyCart);
}
