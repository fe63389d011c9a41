/** The partitions of a running cluster double, twice, while clients of both kinds write and read. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { type CartwheelClient, connect } from '../../client/index.ts';
import { figureOf } from './figures.ts';
import { freeBasePort } from './ports.ts';
import { cartwheel, hangMs, removeDirectory, temporaryDirectory, until } from './support.ts';
import { type Dev, endDev, startDev } from './support-dev.ts';

const carts = 40;
const settledKeys = 200;

let directory = '';
let dev: Dev;
const shoppers: Shopper[] = [];
let byRouter: CartwheelClient;
let direct: CartwheelClient;
before(async () => {
  directory = await temporaryDirectory();
  dev = await startDev(directory, await freeBasePort(), ['--nodes', '4', '--partitions', '16']);
  byRouter = connect({ endpoints: [endpoint(0)] });
  direct = connect({ endpoints: [endpoint(0)], direct: true });
  for (let i = 0; i < settledKeys; i++) await byRouter.put(`settled-${i}`, `value ${i}`);
  for (const client of [byRouter, direct]) shoppers.push(startShopper(client, `shopper-${shoppers.length}`));
});
after(async () => {
  await Promise.all(shoppers.map((shopper) => shopper.stop()));
  await Promise.all([byRouter?.close(), direct?.close()]);
  if (dev !== undefined) await endDev(dev);
  await removeDirectory(directory);
});

const endpoint = (offset: number) => `127.0.0.1:${dev.basePort + offset}`;

interface Shopper {
  /** Of each cart, the items whose put was acknowledged. */
  readonly added: ReadonlyMap<string, readonly string[]>;
  readonly failures: string[];
  readonly done: number;
  stop(): Promise<void>;
}

/** Adds an item to one cart after the other; a cart is several shoppers' at a time. */
function startShopper(client: CartwheelClient, name: string): Shopper {
  const added = new Map<string, string[]>();
  const failures: string[] = [];
  let stopped = false;
  let done = 0;
  const running = (async () => {
    for (let i = 0; !stopped; i++) {
      const cart = `cart-${i % carts}`;
      const item = `${name}/${i}`;
      try {
        await client.update(cart, (siblings) => {
          return JSON.stringify([...new Set([...siblings.flatMap(({ value }) => itemsOf(value)), item])]);
        });
        added.set(cart, [...(added.get(cart) ?? []), item]);
      } catch (error) {
        failures.push(`${item}: ${error}`);
      }
      done++;
    }
  })();
  return {
    added,
    failures,
    get done() {
      return done;
    },
    async stop() {
      stopped = true;
      await running;
    },
  };
}

function itemsOf(value: Uint8Array): string[] {
  return JSON.parse(Buffer.from(value).toString());
}

/** Every acknowledged add is in its cart, by either way of asking. */
async function nothingIsLost(): Promise<void> {
  for (const client of [byRouter, direct]) {
    for (const { added } of shoppers) {
      for (const [cart, items] of [...added]) {
        const wanted = [...items];
        const { siblings } = await client.get(cart);
        const there = new Set(siblings.flatMap(({ value }) => itemsOf(value)));
        assert.deepEqual(
          wanted.filter((item) => !there.has(item)),
          [],
          cart,
        );
      }
    }
    for (let i = 0; i < settledKeys; i++) {
      const { siblings } = await client.get(`settled-${i}`);
      assert.deepEqual(
        siblings.map(({ value }) => Buffer.from(value).toString()),
        [`value ${i}`],
      );
    }
  }
}

async function goesOn(): Promise<void> {
  const before = shoppers.map(({ done }) => done);
  await until('both shoppers go on', () => shoppers.every(({ done }, i) => done > (before[i] as number) + carts));
}

async function partitionsEverywhere(): Promise<number[]> {
  const statuses = await Promise.all([0, 11, 12, 13, 14, 41].map((offset) => byRouter.status(endpoint(offset))));
  return statuses.map(({ partitions }) => partitions);
}

/** Of each storage node. */
function figures(name: string): Promise<number[]> {
  return Promise.all([111, 112, 113, 114].map((offset) => figureOf(endpoint(offset), name)));
}

const double = (...args: string[]) => cartwheel(['partitions', 'double', ...args, '--endpoint', endpoint(0)]);

test('a doubling under load fails nothing and loses nothing, and no byte moves', { timeout: 2 * hangMs }, async () => {
  await goesOn();
  const owned = await figures('cartwheel_partitions_owned');
  const listing = cartwheel(['keys', '--count', '--prefix', 'settled-', '--endpoint', endpoint(0)]);
  const { code, stdout, stderr } = await double('--commit');
  assert.deepEqual([code, stdout.replace(/ring .*/, '')], [0, 'done: 32 partitions, \n'], stderr);
  assert.match((await listing).stdout, new RegExp(`^${settledKeys}\\n$`));
  await until('every process has gone over', async () => (await partitionsEverywhere()).every((q) => q === 32));
  await goesOn();
  await nothingIsLost();
  for (const { failures } of shoppers) assert.deepEqual(failures, []);
  assert.deepEqual(await figures('cartwheel_transfer_records_total'), [0, 0, 0, 0]);
  assert.deepEqual(
    await figures('cartwheel_partitions_owned'),
    owned.map((partitions) => 2 * partitions),
  );
  const { stdout: explained } = await cartwheel(['explain', 'cart-1', '--endpoint', endpoint(0)]);
  assert.match(explained, /^partition {2}\d+ of 32$/m);
});

test('a storage node and the claimant are killed as the partitions double: it is ended, and nothing is lost', {
  timeout: 3 * hangMs,
}, async () => {
  const doubling = double('--commit');
  process.kill(dev.children()['storage-2'] as number, 'SIGKILL');
  await until('the doubling is known to the claimant, or done', async () => {
    const { claimant, partitions } = await byRouter.status(endpoint(41));
    return claimant?.change !== undefined || partitions === 64;
  });
  process.kill(dev.children()['membership-1'] as number, 'SIGKILL');
  await until('both are dead', () => /membership-1 DEAD/.test(dev.output()) && /storage-2 DEAD/.test(dev.output()));
  await cartwheel(['dev', '--restart', '--data', directory]);
  const { code, stdout, stderr } = await doubling;
  assert.deepEqual([code, stdout.replace(/ring .*/, '')], [0, 'done: 64 partitions, \n'], stderr);
  await until('every process has gone over', async () => (await partitionsEverywhere()).every((q) => q === 64));
  await goesOn();
  await Promise.all(shoppers.map((shopper) => shopper.stop()));
  await nothingIsLost();
});

test('nodes that start again, and one that is added, go on with what there is now', {
  timeout: 2 * hangMs,
}, async () => {
  process.kill(dev.children()['storage-1'] as number, 'SIGKILL');
  await until('it is dead', () => /storage-1 DEAD/.test(dev.output()));
  await cartwheel(['dev', '--restart', '--data', directory]);
  const { code, stderr } = await cartwheel(['dev', 'add', '1', '--data', directory]);
  assert.equal(code, 0, stderr);
  const loads = await Promise.all(
    [11, 12, 13, 14, 15].map(async (offset) => (await byRouter.status(endpoint(offset))).storage?.partitions ?? 0),
  );
  assert.equal(
    loads.reduce((sum, load) => sum + load),
    3 * 64,
  );
  assert.ok(Math.min(...loads) > 0, `${loads}`);
  await nothingIsLost();
});
