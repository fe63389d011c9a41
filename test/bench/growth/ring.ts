/** The ring of a large cluster: its bytes, what it costs to make, send and read it, and to look a key up in it. */
import { RingDelta, Ring as RingMessage } from '../../../proto/gen/cartwheel/kv/v1/kv.ts';
import { FLIGHT_LIMITS } from '../../../services/core/membership/claimant.ts';
import { addNodes, flip, stage } from '../../../services/core/ring/change.ts';
import { firstClaim } from '../../../services/core/ring/claim.ts';
import { changeClaim } from '../../../services/core/ring/claim-change.ts';
import { decodeRing, encodeRing } from '../../../services/core/ring/codec.ts';
import { applyDelta, deltaOf } from '../../../services/core/ring/delta.ts';
import { createMix } from '../../../services/core/ring/mix.ts';
import { partitionOfStorageKey } from '../../../services/core/ring/partition.ts';
import { preferenceList } from '../../../services/core/ring/preference-list.ts';
import { createRing, type Ring, type RingNode } from '../../../services/core/ring/ring.ts';
import type { GrowthOptions } from '../growth.ts';
import { markdown, significant } from '../tables.ts';

const replicas = 3;
const zones = 3;
const lookups = 2_000_000;
const keyPool = 4096;
const repeats = 20;

export function studyRing({ nodes, partitions }: GrowthOptions): string {
  const members = Array.from({ length: nodes }, (_, i) => memberOf(i));
  const claim = timed(() => firstClaim({ nodes: members, partitions, replicas }));
  const ring = createRing({
    version: { term: 7n, sequence: 4711n },
    ...{ partitions, replicas, nodes: members, owners: claim.result, pending: new Map() },
  });
  const encoded = timed(() => RingMessage.encode(encodeRing(ring)).finish(), repeats);
  const bytes = encoded.result;
  const decoded = timed(() => decodeRing(RingMessage.decode(bytes)), repeats);
  const { index: _, status: __, ...joining } = memberOf(nodes);
  const joined = addNodes(ring, [joining]);
  const wanted = joined.nodes.map(({ index }) => index);
  const change = timed(() => changeClaim({ ...joined, wanted }));
  const staged = stage(joined, change.result.owners, FLIGHT_LIMITS);
  const flipped = flip(staged, change.result.owners, [...staged.pending.keys()].slice(0, 1));
  const compared = timed(() => deltaOf(staged, flipped) as RingDelta, repeats);
  const delta = RingDelta.encode(compared.result).finish();
  const applied = timed(() => applyDelta(staged, RingDelta.decode(delta)), repeats);
  const { first, usual } = lookupTimes(ring);
  const rows = [
    ['first claim', `${ms(claim.ms)} ms`],
    ['claim when one node more joins', `${ms(change.ms)} ms, ${change.result.moved} replicas move`],
    ['the ring, whole', `${bytes.length.toLocaleString('en')} bytes`],
    ['the ring, whole, while partitions move', `${bytesOf(flipped).toLocaleString('en')} bytes`],
    ['the flip of one partition, as a delta', `${delta.length} bytes`],
    ['to make it, to apply it', `${ms(compared.ms)} ms, ${ms(applied.ms)} ms`],
    ['to encode the whole ring', `${ms(encoded.ms)} ms`],
    ['to decode and check the whole ring', `${ms(decoded.ms)} ms`],
    ['look-up: storage key → partition → preference list', `${significant(usual * 1e6)} ns`],
    ['the same, the first of a partition', `${significant(first * 1e3)} µs`],
  ];
  const title = `### A ring of ${nodes} nodes and ${partitions.toLocaleString('en')} partitions`;
  return [title, '', markdown(['', ''], rows)].join('\n');
}

/** With names as long as a cluster on Kubernetes has them. */
function memberOf(index: number): RingNode {
  const name = `cartwheel-storage-${index}`;
  return {
    index,
    id: (0x9e3779b97f4a7c15n * BigInt(index + 1)).toString(16).slice(-16),
    address: `${name}.cartwheel-storage.production.svc.cluster.local:7411`,
    host: `ip-10-0-${index >> 8}-${index & 255}.eu-west-1.compute.internal`,
    zone: `eu-west-1${'abc'[index % zones]}`,
    status: 'UP',
  };
}

function lookupTimes(ring: Ring): { first: number; usual: number } {
  const mix = createMix(ring.partitions);
  const keys = Array.from({ length: keyPool }, () => Buffer.from(Array.from({ length: 8 }, () => mix(256))));
  const cold = timed(() => {
    for (let partition = 0; partition < ring.partitions; partition++) preferenceList(ring, partition);
  });
  let homes = 0;
  const look = (count: number) => {
    for (let i = 0; i < count; i++) {
      const list = preferenceList(ring, partitionOfStorageKey(keys[i % keyPool] as Buffer, ring.partitions));
      homes += list[0] as number;
    }
  };
  look(lookups); // compiles it
  const warm = timed(() => look(lookups));
  // Used, so that the loop is not thrown away.
  if (!Number.isSafeInteger(homes)) throw new Error('a home is no number');
  return { first: cold.ms / ring.partitions, usual: warm.ms / lookups };
}

function bytesOf(ring: Ring): number {
  return RingMessage.encode(encodeRing(ring)).finish().length;
}

/** The mean of `times` runs, milliseconds. */
function timed<T>(run: () => T, times = 1): { result: T; ms: number } {
  const began = performance.now();
  let result = run();
  for (let i = 1; i < times; i++) result = run();
  return { result, ms: (performance.now() - began) / times };
}

function ms(value: number): string {
  return significant(value);
}
