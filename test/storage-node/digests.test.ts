/** The digest tree of a node: built from what is on its disk while that changes, and kept over a clean stop alone. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createRecordCodec } from '../../services/core/codec/record.ts';
import { Failure } from '../../services/core/failure.ts';
import type { Log } from '../../services/core/ports.ts';
import { storageKey } from '../../services/core/ring/storage-key.ts';
import { emptyContext } from '../../services/core/versioning/causal-context.ts';
import { applyPut } from '../../services/core/versioning/write.ts';
import { checksum32, xxh64 } from '../../services/platform/hash.ts';
import { createMemoryDisk, type MemoryDisk, openMemoryEngine } from '../../services/platform/memory-engine.ts';
import type { Background } from '../../services/storage-node/background.ts';
import { createDigests } from '../../services/storage-node/digests.ts';
import {
  createRecordStore,
  type Held,
  type Next,
  nothingHeld,
  pageRecordsMax,
  type RecordStore,
} from '../../services/storage-node/record-store.ts';
import { recordingLog, silentLog } from '../platform/recording-log.ts';
import { seededRandom } from '../sim/random.ts';
import { createReadableMetrics } from './metrics.ts';
import { unhindered } from './unhindered.ts';

const codec = createRecordCodec(checksum32);
const keyOf = (i: number) => storageKey('default', Buffer.from(`key ${i}`), xxh64);
let actors = 0n;

/** A store and its digests on a disk whose every action waits a random while. */
function openNode(
  disk: MemoryDisk,
  seed: number,
  background: Pick<Background, 'begin'> = unhindered,
  log: Log = silentLog,
) {
  const random = seededRandom(seed, 'disk');
  const engine = openMemoryEngine(disk, {
    random: { u64: () => ++actors, below: (bound) => random.below(bound) },
    schedule: (_, run) => void setTimeout(run, random.below(3)),
  });
  const metrics = createReadableMetrics();
  const digests = createDigests({
    engine,
    hash: xxh64,
    log,
    metrics,
    depth: 8,
    after: () => {},
    store: () => store,
    background: () => background,
  });
  const store: RecordStore = createRecordStore({
    engine,
    codec,
    metrics,
    cacheBytesMax: 0,
    now: () => performance.now(),
    after: (ms, run) => {
      const timer = setTimeout(run, ms);
      return () => clearTimeout(timer);
    },
    endOfTurn: (run) => void setImmediate(run),
    wallNowMs: () => 0,
    onFailure: () => {},
    onChanged: (key, before, after) => digests.changed(key, before, after),
  });
  return { engine, store, digests };
}

function added({ birth, owed, record }: Held, text: string): Next {
  const write = {
    context: emptyContext,
    requestId: new Uint8Array(0),
    writtenAtMs: 0,
    ttlMs: 0,
    lastWriterWins: false,
  };
  const minting = { lineage: 1n, newActor: () => ++actors };
  const { copy } = applyPut({ birth, record }, { ...write, value: Buffer.from(text) }, minting);
  return { copy: { ...copy, owed, bytes: codec.encode(copy.record) } };
}

async function built({ digests }: ReturnType<typeof openNode>): Promise<void> {
  while (!digests.ready) await new Promise((resolve) => setTimeout(resolve, 1));
}

/** What a tree made of the disk alone says. */
async function leavesOf(disk: MemoryDisk): Promise<(readonly [number, bigint])[]> {
  disk.crash(0);
  const node = openNode(disk, 1);
  await node.digests.open();
  await built(node);
  return [...node.digests.tree.leaves()];
}

test('a tree that is built while records change, come and go is that of the records', async () => {
  for (let seed = 1; seed <= 12; seed++) {
    const disk = createMemoryDisk();
    const before = openNode(disk, seed);
    const fill = Array.from({ length: 1_500 }, (_, i) =>
      before.store.change(keyOf(i), (held) => added(held, 'a'), true),
    );
    await Promise.all((await Promise.all(fill)).map(({ committed }) => committed));
    disk.crash(0);
    const node = openNode(disk, seed + 100);
    const random = seededRandom(seed, 'changes');
    await node.digests.open();
    while (!node.digests.ready) {
      const i = random.below(2_000);
      const drop = random.chance(0.2);
      await node.store.change(
        keyOf(i),
        (held) => (drop ? { copy: nothingHeld } : added(held, 'b')),
        random.chance(0.3),
      );
      if (random.chance(0.3)) await new Promise((resolve) => setTimeout(resolve, 1));
    }
    await node.store.close();
    await node.engine.close();
    assert.deepEqual([...node.digests.tree.leaves()], await leavesOf(disk), `seed ${seed}`);
  }
});

test('a clean stop keeps the tree, whatever is open next counts it only once', async () => {
  const disk = createMemoryDisk();
  const first = openNode(disk, 1);
  await first.digests.open();
  await built(first);
  for (let i = 0; i < 50; i++) await first.store.change(keyOf(i), (held) => added(held, 'a'), true);
  const leaves = [...first.digests.tree.leaves()];
  await first.store.close();
  await first.digests.close();
  await first.engine.close();

  const second = openNode(disk, 2);
  const opening = second.digests.open();
  await opening;
  assert.equal(second.digests.ready, true, 'nothing had to be read');
  assert.deepEqual([...second.digests.tree.leaves()], leaves);
  await second.store.change(keyOf(7), (held) => added(held, 'more'), true).then(({ committed }) => committed);
  const after = [...second.digests.tree.leaves()];
  disk.crash(0);

  const third = openNode(disk, 3);
  await third.digests.open();
  assert.equal(third.digests.ready, false, 'after a crash what was kept says nothing');
  await built(third);
  assert.deepEqual([...third.digests.tree.leaves()], after);
});

test('I3: it goes on as it is admitted, and ends without a word where the process stops meanwhile', async () => {
  const disk = createMemoryDisk();
  const before = openNode(disk, 1);
  const fill = Array.from({ length: 1_500 }, (_, i) => before.store.change(keyOf(i), (held) => added(held, 'a'), true));
  await Promise.all((await Promise.all(fill)).map(({ committed }) => committed));
  disk.crash(0);
  const turns: { operations: number; goOn: () => void; stop: () => void }[] = [];
  let ends = 0;
  const background: Pick<Background, 'begin'> = {
    begin: () => ({
      ...{ reached() {}, waitsFor() {}, waiting: '', end: () => void ends++ },
      admit: (operations) =>
        new Promise((goOn, refuse) =>
          turns.push({ operations, goOn, stop: () => refuse(new Failure('DRAINING', 'this process is stopping')) }),
        ),
    }),
  };
  const log = recordingLog();
  const { digests } = openNode(disk, 2, background, log);
  await digests.open();
  const asked = async (count: number) => {
    while (turns.length < count) await new Promise((resolve) => setTimeout(resolve, 1));
    return turns[count - 1] as (typeof turns)[number];
  };
  const first = await asked(1);
  assert.ok(first.operations >= pageRecordsMax / 20, `${first.operations}`);
  const built = digests.built;
  assert.ok(built > 0 && built < 0.5, `${built}`);
  first.goOn();
  const second = await asked(2);
  assert.ok(digests.built > built && !digests.ready);
  second.stop();
  while (ends === 0) await new Promise((resolve) => setTimeout(resolve, 1));
  await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual(log.lines, []);
});
