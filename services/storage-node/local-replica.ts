/** This node's own replica: what it does for coordinators, itself among them. */
import { decodeStored, type RecordCodec, recordChecksum } from '../core/codec/record.ts';
import { Failure } from '../core/failure.ts';
import type { Clock } from '../core/ports.ts';
import type { Replica, ScannedKey } from '../core/quorum/peers.ts';
import { parseStorageKey } from '../core/ring/storage-key.ts';
import { emptyRecord, merge, sameBytes, visibleSiblings } from '../core/versioning/record.ts';
import type { RecordStore } from './record-store.ts';

/** A page reads at most this many records, so that no scan holds the event loop for long. */
const scanRecordsMax = 512;

export function createLocalReplica(store: RecordStore, records: RecordCodec, clock: Clock): Replica {
  return {
    async write({ key, record: bytes, sync, deadline }) {
      if (clock.now() >= deadline) throw new Failure('DEADLINE', 'the deadline had passed when the record arrived');
      const incoming = records.decode(bytes);
      const { committed } = await store.change(
        key,
        ({ birth, record, bytes: own }) => {
          if (own !== undefined && sameBytes(own, bytes)) return undefined;
          const merged = record === emptyRecord ? incoming : merge(record, incoming);
          if (merged === record) return undefined;
          return { birth, record: merged, bytes: merged === incoming ? bytes : records.encode(merged) };
        },
        sync,
      );
      await committed;
    },

    read: ({ key }) => store.read(key),

    async scan({ start, end, namespace, prefix, limit }) {
      const page = await store.scan(start, end, Math.min(limit, scanRecordsMax));
      const keys: ScannedKey[] = [];
      for (const [key, stored] of page.entries) {
        const parsed = parseStorageKey(key);
        if (parsed.namespace !== namespace || !sameBytes(parsed.key.subarray(0, prefix.length), prefix)) continue;
        const { bytes } = decodeStored(stored);
        keys.push({ key, checksum: recordChecksum(bytes), siblings: visibleSiblings(records.decode(bytes)).length });
      }
      return { keys, next: page.next };
    },
  };
}
