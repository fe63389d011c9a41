/** What a node says of the ring it knows, and of the partitions it has pulled: in place of GetStatus. */
import { Ring as RingMessage } from '../../proto/gen/cartwheel/kv/v1/kv.ts';
import { decodeRing, encodeRing } from '../../services/core/ring/codec.ts';
import type { Ring } from '../../services/core/ring/ring.ts';

export interface RingReport {
  /** Of the node. */
  readonly id: string;
  readonly ring: Ring;
  readonly pulled: readonly number[];
  /** Hints, and partitions of others that something may be left of. */
  readonly owes: number;
}

export function encodeRingReport({ id, ring, pulled, owes }: RingReport): Uint8Array {
  const bytes = Buffer.from(RingMessage.encode(encodeRing(ring)).finish());
  return Buffer.from(JSON.stringify({ id, ring: bytes.toString('base64'), pulled, owes }));
}

export function decodeRingReport(bytes: Uint8Array): RingReport {
  const { id, ring, pulled, owes } = JSON.parse(Buffer.from(bytes).toString());
  return { id, ring: decodeRing(RingMessage.decode(Buffer.from(ring, 'base64'))), pulled, owes };
}
