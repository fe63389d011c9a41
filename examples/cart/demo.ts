/**
 * The shopping cart of the Dynamo paper, with two shoppers at once.
 *
 *   npm start                                            in one terminal: a cluster on this machine
 *   node_modules/.bin/node examples/cart/demo.ts         in another
 *   node_modules/.bin/node examples/cart/demo.ts HOST:PORT,…     with another cluster
 *
 * Ann and Bob share a cart. Both look at it, and then both put something in without knowing of the other: two
 * writes from one context. A store that keeps the last one loses an item. This one keeps both as siblings, and
 * the next reader merges them. Then Ann takes something out while Bob puts the same thing in again.
 *
 * Ends with exit code 1 if an item was lost.
 */
import { randomUUID } from 'node:crypto';
import { connect } from '../../client/index.ts';
import { encode, itemsOf, withItem, withoutItem } from './cart.ts';
import { keyOf, mergedCart, openShop } from './shop.ts';

const endpoints = (process.argv[2] ?? process.env.CARTWHEEL_ENDPOINT ?? '127.0.0.1:7400').split(',');
const client = connect({ endpoints, name: 'cartwheel-example-cart' });
const shop = openShop(client);
const cartId = randomUUID();
const key = keyOf(cartId);

try {
  await shop.add(cartId, 'apple');
  console.log(`the cart ${cartId} begins with: ${text(await shop.view(cartId))}`);

  // Both look first, and write later: neither has seen what the other writes.
  const [annSaw, bobSaw] = await Promise.all([client.get(key), client.get(key)]);
  await Promise.all([
    client.put(key, encode(withItem(mergedCart(annSaw.siblings), 'bread', randomUUID())), { context: annSaw.context }),
    client.put(key, encode(withItem(mergedCart(bobSaw.siblings), 'cheese', randomUUID())), { context: bobSaw.context }),
  ]);
  const both = await client.get(key);
  console.log(`Ann added bread, Bob added cheese, both from one context: ${both.siblings.length} siblings`);
  for (const { dot, value } of both.siblings) console.log(`  ${dot}  ${value}`);
  expect(await shop.view(cartId), { apple: 1, bread: 1, cheese: 1 });

  await shop.add(cartId, 'dates');
  console.log(`the next change writes the merged cart: ${(await client.get(key)).siblings.length} sibling`);
  expect(await shop.view(cartId), { apple: 1, bread: 1, cheese: 1, dates: 1 });

  const [annSees, bobSees] = await Promise.all([client.get(key), client.get(key)]);
  await Promise.all([
    client.put(key, encode(withoutItem(mergedCart(annSees.siblings), 'apple')), { context: annSees.context }),
    client.put(key, encode(withItem(mergedCart(bobSees.siblings), 'apple', randomUUID())), {
      context: bobSees.context,
    }),
  ]);
  console.log('Ann took the apple out while Bob added another one: the one she saw is gone, his stays');
  expect(await shop.view(cartId), { apple: 1, bread: 1, cheese: 1, dates: 1 });

  await shop.remove(cartId, 'apple');
  console.log('Ann looks again and takes that one out, too');
  expect(await shop.view(cartId), { bread: 1, cheese: 1, dates: 1 });

  const { context } = await client.get(key);
  await client.delete(key, context);
  console.log(`the checkout deletes the cart: ${text(itemsOf(mergedCart((await client.get(key)).siblings)))}`);
} catch (error) {
  console.error(`the demo failed: ${error instanceof Error ? error.message : error}`);
  process.exitCode = 1;
} finally {
  await client.close();
}

function expect(seen: ReadonlyMap<string, number>, wanted: Record<string, number>): void {
  console.log(`  in the cart: ${text(seen)}`);
  const wantedText = text(new Map(Object.entries(wanted)));
  if (text(seen) !== wantedText) throw new Error(`wanted ${wantedText} in the cart, saw ${text(seen)}`);
}

function text(items: ReadonlyMap<string, number>): string {
  return [...items].map(([item, n]) => (n === 1 ? item : `${n} × ${item}`)).join(', ') || 'nothing';
}
