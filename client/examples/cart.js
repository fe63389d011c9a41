/**
 * A shopping cart that two shoppers change at the same time, and that loses no item.
 *
 *   node node_modules/cartwheel-client/examples/cart.js 127.0.0.1:7400
 */
import { randomUUID } from 'node:crypto';
import { connect } from 'cartwheel-client';

const client = connect({ endpoints: (process.argv[2] ?? '127.0.0.1:7400').split(',') });
const cart = `cart-${randomUUID()}`;

/** @param {readonly import('cartwheel-client').Sibling[]} siblings */
const itemsOf = (siblings) => new Set(siblings.flatMap(({ value }) => JSON.parse(value.toString())));
/** @param {string} item */
const add = (item) => client.update(cart, (siblings) => JSON.stringify([...itemsOf(siblings).add(item)]));

await Promise.all([add('bread'), add('cheese')]);
const { siblings } = await client.get(cart);
console.log(`${siblings.length} siblings, in the cart: ${[...itemsOf(siblings)].sort().join(', ')}`);
await client.close();
