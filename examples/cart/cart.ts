/**
 * A shopping cart as a value: pure functions, no store.
 *
 * Dynamo's own cart was a set of items, merged by union, with the anomaly that its paper admits: an item that one
 * shopper removed comes back when another one changed the cart at the same time, because a union cannot tell
 * "removed here" from "never had it". This cart can. Each time an item is put in, that gets an id of its own, and
 * taking it out remembers the ids taken out (an observed-remove set: Shapiro et al., "Conflict-free replicated
 * data types", 2011):
 *
 *   { "added": { "7f3a…": "apple", "02bc…": "pear" }, "removed": ["02bc…"] }
 *
 * I1 `merge` is commutative, associative and idempotent: whoever merges, in whatever order, gets the same cart.
 * I2 Taking an item out takes out what the shopper has seen. What somebody else adds at the same time stays.
 *
 * What it costs: `removed` only grows. A real shop would empty the cart at the checkout by deleting the key.
 */

export interface Cart {
  /** Id of the adding → item. */
  readonly added: ReadonlyMap<string, string>;
  /** Ids of addings that were taken out again. */
  readonly removed: ReadonlySet<string>;
}

export const emptyCart: Cart = { added: new Map(), removed: new Set() };

/** Everything that anybody added, less everything that anybody took out. */
export function merge(a: Cart, b: Cart): Cart {
  return { added: new Map([...a.added, ...b.added]), removed: new Set([...a.removed, ...b.removed]) };
}

/** `id` must be new: a random one. */
export function withItem(cart: Cart, item: string, id: string): Cart {
  return { ...cart, added: new Map([...cart.added, [id, item]]) };
}

export function withoutItem(cart: Cart, item: string): Cart {
  const ids = [...cart.added].filter(([, added]) => added === item).map(([id]) => id);
  return { ...cart, removed: new Set([...cart.removed, ...ids]) };
}

/** Item → how many of it, in alphabetical order. */
export function itemsOf(cart: Cart): ReadonlyMap<string, number> {
  const items = new Map<string, number>();
  for (const [id, item] of cart.added) if (!cart.removed.has(id)) items.set(item, (items.get(item) ?? 0) + 1);
  return new Map([...items].sort(([a], [b]) => (a < b ? -1 : 1)));
}

export function encode(cart: Cart): string {
  return JSON.stringify({ added: Object.fromEntries(cart.added), removed: [...cart.removed] });
}

export function decode(bytes: Uint8Array): Cart {
  const { added, removed } = JSON.parse(new TextDecoder().decode(bytes)) as {
    added: Record<string, string>;
    removed: string[];
  };
  return { added: new Map(Object.entries(added)), removed: new Set(removed) };
}
