/**
 * Records of this node whose bytes are not the ones that were written: made whole from what the other nodes have.
 *
 *   found by whoever reads it → whole in memory still? then written again; else every other home is asked
 *   → what they have, merged, in its place, synced → the digest of its leaf set right
 *
 * Until then it is neither served nor merged into (record-store.ts): others answer and stand in for this node.
 *
 * I1 What comes into its place is what core/versioning/restored.ts says, without its birth; whom the record is owed to
 *    says the index of hints, so a fallback still owes it. Requests whose writes are not in it are forgotten, or a second
 *    attempt would be told that they are.
 * I2 It is tried again until it is done. Where nobody has anything of the key the record is lost: that is logged.
 * I3 While nothing is known not to be whole there is no timer.
 */
import { hintKey } from '../core/codec/hint.ts';
import { leafOf } from '../core/merkle/digest-tree.ts';
import type { Log, Metrics } from '../core/ports.ts';
import { currentRing } from '../core/ring/current-ring.ts';
import { storageKeyText } from '../core/ring/storage-key.ts';
import { contains } from '../core/versioning/causal-context.ts';
import { emptyRecord, type KeyRecord } from '../core/versioning/record.ts';
import { restored } from '../core/versioning/restored.ts';
import { fetchRecords } from './exchange.ts';
import { placeOf, readersOf, type StorageNode } from './node.ts';
import { CorruptRecord, unchanged } from './record-store.ts';
import type { Verification } from './verification.ts';

/** More are found again by whoever reads them. */
const keysMax = 10_000;
const firstMs = 10;
const againMs = 5_000;

export interface RecordRepair {
  /** The record of this key is not whole. */
  found(key: Uint8Array): void;
  stop(): void;
}

export interface RecordRepairOptions {
  readonly node: StorageNode;
  readonly verification: Pick<Verification, 'verifyLeaf'>;
  readonly log: Log;
  readonly metrics: Metrics;
}

interface Damaged {
  readonly key: Uint8Array;
  /** It has been written again. */
  isWhole: boolean;
}

export function createRecordRepair({ node, verification, log, metrics }: RecordRepairOptions): RecordRepair {
  const { clock, random, store, engine, requests, digests, background } = node;
  const damaged = new Map<string, Damaged>();
  let timer: (() => void) | undefined;
  let working = false;
  let stopped = false;
  const repaired = metrics.counter(
    'cartwheel_corrupt_records_repaired_total',
    'Records made whole from other replicas',
  );
  const lost = metrics.counter('cartwheel_corrupt_records_lost_total', 'Records of which no other node had anything');
  metrics.gauge('cartwheel_corrupt_records', 'Records known not to be whole, and not repaired yet', () => damaged.size);

  function later(ms: number): void {
    if (damaged.size > 0 && !stopped && !working) timer ??= clock.after(ms, () => void work());
  }

  async function work(): Promise<void> {
    timer = undefined;
    working = true;
    const task = background.begin('repair', 'records that are not whole');
    for (const [name, one] of damaged) {
      try {
        await task.admit(1, 0);
        if (await repair(one)) damaged.delete(name);
      } catch (error) {
        if (stopped) break;
        node.metrics.replicaFailed(node.id, 'repair', error);
      }
    }
    task.end();
    working = false;
    later(againMs / 2 + random.below(againMs));
  }

  /** Whether it is whole, and its digest right: that cannot be told while other records beside it cannot be read. */
  async function repair(one: Damaged): Promise<boolean> {
    const { key } = one;
    if (!one.isWhole && !(await isWritten(key))) {
      const record = await recordOfOthers(key);
      if (record === undefined) return false;
      await replace(key, record);
    }
    one.isWhole = true;
    return verification.verifyLeaf(leafOf(key, digests.tree.depth));
  }

  /** Writes it again where it is whole: it may be so in memory alone. */
  async function isWritten(key: Uint8Array): Promise<boolean> {
    try {
      const { committed } = await store.change(
        key,
        (held) => (held.bytes === undefined ? unchanged : { copy: held }),
        true,
      );
      await committed;
      return true;
    } catch (error) {
      if (error instanceof CorruptRecord) return false;
      throw error;
    }
  }

  async function recordOfOthers(key: Uint8Array): Promise<KeyRecord | undefined> {
    const place = placeOf(currentRing(node), key);
    const homes = place.homes.flatMap(({ id, status }) => (id === node.id || status === 'DOWN' ? [] : id));
    const asked = readersOf(node, place, false).first(2 * place.ring.replicas);
    const said = new Map<string, KeyRecord>();
    await Promise.allSettled(
      asked.map(async ({ id }) => {
        if (id !== node.id) said.set(id, await recordAt(id, key));
      }),
    );
    return restored(homes, said);
  }

  async function recordAt(id: string, key: Uint8Array): Promise<KeyRecord> {
    let record = emptyRecord;
    for await (const found of fetchRecords(node.peers.replica(id), [key]))
      for (const { record: bytes } of found) record = node.records.decode(bytes);
    return record;
  }

  async function replace(key: Uint8Array, record: KeyRecord): Promise<void> {
    const ids = [...node.hints.nodes()].sort();
    const keysOfHints = ids.map((id) => hintKey(id, key));
    const hints = await engine.getMany('hints', keysOfHints);
    const owed = ids.filter((_, i) => hints[i] !== undefined);
    const forgotten = await requests.forget(key, (dot) => !contains(record.clock, dot));
    if (!(await store.restore(key, { record, owed, also: forgotten }))) return;
    repaired.add(1);
    if (record.clock.length > 0) return;
    lost.add(1);
    const lostKey = Buffer.from(key).toString('hex');
    log.error({ lostKey, owed }, 'a record is lost: it was not whole, and no other node has any of it');
  }

  return {
    found(key) {
      if (stopped || damaged.size >= keysMax) return;
      damaged.set(storageKeyText(key), { key: Uint8Array.from(key), isWhole: false });
      later(firstMs);
    },
    stop() {
      stopped = true;
      timer?.();
    },
  };
}
