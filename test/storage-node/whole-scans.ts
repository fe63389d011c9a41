/** Whatever reads through all records of a node, one by one, with nothing to wait for: for tests and benchmarks of a scan. */
import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { StorageEngine } from '../../services/core/ports.ts';
import { storageKey } from '../../services/core/ring/storage-key.ts';
import { emptyContext, withDot } from '../../services/core/versioning/causal-context.ts';
import { xxh64 } from '../../services/platform/hash.ts';
import type { AssembledNode } from '../../services/storage-node/assemble.ts';
import { createCollection } from '../../services/storage-node/collection.ts';
import { createDigests } from '../../services/storage-node/digests.ts';
import { answerExchange, requestOf } from '../../services/storage-node/exchange.ts';
import { nothingHeld } from '../../services/storage-node/record-store.ts';
import { createVerification } from '../../services/storage-node/verification.ts';
import { silentLog } from '../platform/recording-log.ts';
import { createReadableMetrics } from './metrics.ts';
import { unhindered } from './unhindered.ts';

const writtenAtOnce = 256;
const leavesAtOnce = 64;
const keysAtOnce = 512;

export interface Scan {
  readonly name: string;
  run(): Promise<unknown>;
}

/** Records of one value each. */
export async function fill({ store, records }: AssembledNode, count: number, size: number): Promise<void> {
  for (let from = 0; from < count; from += writtenAtOnce) {
    const changes = Array.from({ length: Math.min(writtenAtOnce, count - from) }, async (_, i) => {
      const dot = { actor: BigInt(from + i + 1), counter: 1 };
      const sibling = { dot, requestId: randomBytes(16), writtenAtMs: Date.now(), value: randomBytes(size) };
      const record = { clock: withDot(emptyContext, dot), siblings: [sibling] };
      const copy = { ...nothingHeld, record, bytes: records.encode(record) };
      const key = storageKey('default', Buffer.from(`user${from + i}`), xxh64);
      const { committed } = await store.change(key, () => ({ copy }), false);
      await committed;
    });
    await Promise.all(changes);
  }
}

/** `engine`: of the node. */
export function scansOf(node: AssembledNode, engine: StorageEngine): Scan[] {
  const metrics = createReadableMetrics();
  const at = { ...node, background: unhindered };
  const { digests, store, clock, validation } = node;
  const leaves = Array.from({ length: 2 ** digests.tree.depth }, (_, leaf) => leaf);
  const verification = createVerification({
    ...{ digests, store, clock, metrics, background: unhindered },
    everyMs: 0,
  });
  const collection = createCollection(at, metrics, 0);
  return [
    {
      name: 'digests, built',
      async run() {
        const built = createDigests({
          ...{ engine, log: silentLog, metrics, hash: validation.hash, depth: digests.tree.depth },
          after() {},
          store: () => store,
          background: () => unhindered,
        });
        await built.open();
        while (!built.ready) await sleep(1);
      },
    },
    { name: 'digests, verified', run: () => verification.verifyAll() },
    { name: 'collection, a look', run: () => collection.collectAll() },
    {
      name: 'exchange, leaves listed',
      async run() {
        for (let i = 0; i < leaves.length; i += leavesAtOnce)
          await answerExchange(at, requestOf({ list: { leaves: leaves.slice(i, i + leavesAtOnce) } }));
      },
    },
    {
      name: 'keys, listed',
      async run() {
        const all = { namespace: 'default', prefix: new Uint8Array(0), end: undefined, limit: keysAtOnce };
        for (let start: Uint8Array | undefined = new Uint8Array(8); start !== undefined; )
          start = (await node.replica.scan({ ...all, start })).next;
      },
    },
  ];
}
