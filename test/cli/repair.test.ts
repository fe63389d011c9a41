/** What `repair status` says of partitions that lag, as nodes of straw have it. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { RepairStatus } from '../../proto/gen/cartwheel/admin/v1/admin.ts';
import { type FakeStore, startFakeStore } from './fake-store.ts';
import { cartwheel } from './run-cartwheel.ts';

let store: FakeStore;

before(async () => {
  store = await startFakeStore();
});
after(() => store.close());

const status = (...flags: string[]) => cartwheel(['repair', 'status', '--endpoint', store.address, ...flags]);

function lag(partition: number, seconds: number, waitsFor = '') {
  return { partition, nodeId: 'fake', lagMs: BigInt(seconds * 1_000), waitsFor };
}

test('where nothing differs only the nodes are shown', async () => {
  store.repair = RepairStatus.fromPartial({ digestsBuilt: 1, pairs: 2, compared: 2 });
  const { code, stdout, stderr } = await status();
  assert.equal(code, 0, stderr);
  assert.equal(stdout.split('\n').length, 3);
});

test('partitions that lag are shown with since when, towards whom, and why', async () => {
  const lagging = [lag(7, 3_660, '10.0.0.9:7411, which cannot be reached'), lag(3, 2)];
  store.repair = RepairStatus.fromPartial({ digestsBuilt: 1, pairs: 2, differing: 2, lagMs: 3_660_000n, lagging });
  const { stdout } = await status();
  assert.match(stdout, /^PARTITION +LAG +KNOWN TO +DIFFERS FROM +WAITS FOR$/m);
  const where = `${store.address} +${store.address}`;
  assert.match(stdout, new RegExp(`^ +7 +1 h 1 min +${where} +10\\.0\\.0\\.9:7411, which cannot be reached$`, 'm'));
  assert.match(stdout, new RegExp(`^ +3 +2\\.0 s +${where} +nothing: it is being mended$`, 'm'));
  const { nodes } = JSON.parse((await status('-o', 'json')).stdout);
  assert.deepEqual(nodes[0].lagging[0], { ...lagging[0], lagMs: 3_660_000, differsFrom: store.address });
});

test('a node that the ring does not have is named by its id, as in what nodes say', async () => {
  const lagging = [{ ...lag(7, 3_660, 'node 77aa, which cannot be reached'), nodeId: '77aa' }];
  store.repair = RepairStatus.fromPartial({ digestsBuilt: 1, pairs: 2, differing: 1, lagMs: 3_660_000n, lagging });
  assert.match((await status()).stdout, / node 77aa +node 77aa, which cannot be reached$/m);
});

test('of many the oldest are shown, and how many more there are', async () => {
  const lagging = Array.from({ length: 64 }, (_, i) => lag(i, 1_000 - i, 'its turn'));
  store.repair = RepairStatus.fromPartial({ digestsBuilt: 1, pairs: 500, differing: 300, lagging });
  const { stdout } = await status();
  assert.equal(stdout.match(/its turn$/gm)?.length, 20);
  assert.match(stdout, /^and 280 more, of less lag$/m);
});
