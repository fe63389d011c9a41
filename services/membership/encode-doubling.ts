/** A planned doubling as admin.proto has it: what it would make of each node, and what it costs. */
import type { PlanDoublingResponse } from '../../proto/gen/cartwheel/admin/v1/admin.ts';
import { Ring as RingMessage } from '../../proto/gen/cartwheel/kv/v1/kv.ts';
import type { PlannedDoubling } from '../core/membership/doubling.ts';
import { treeBytes } from '../core/merkle/digest-tree.ts';
import { encodeRing, encodeVersion } from '../core/ring/codec.ts';
import { PARTITIONS_MAX, type Ring } from '../core/ring/ring.ts';

/** `partitionBytes`: of one replica of a partition as they are before, estimated. */
export function encodeDoubling({ goal, before, after }: PlannedDoubling, partitionBytes: number): PlanDoublingResponse {
  const othersOfRow = before.replicas - 1;
  return {
    planId: goal.id,
    ring: encodeVersion(before.version),
    partitionsBefore: before.partitions,
    partitionsAfter: after.partitions,
    partitionsMax: PARTITIONS_MAX,
    nodes: before.nodes
      .filter(({ status }) => status !== 'LEFT')
      .map(({ index, id, address }) => {
        const owns = (ring: Ring) => ring.owners.reduce((sum, owner) => (owner === index ? sum + 1 : sum), 0);
        const [partitionsBefore, partitionsAfter] = [owns(before), owns(after)];
        const [pairsBefore, pairsAfter] = [partitionsBefore * othersOfRow, partitionsAfter * othersOfRow];
        return { id, address, partitionsBefore, partitionsAfter, pairsBefore, pairsAfter };
      }),
    partitionBytes: BigInt(Math.round(partitionBytes)),
    bytesMoved: BigInt(Math.round(goal.bytes)),
    digestTreeBytes: BigInt(treeBytes),
    ringBytesBefore: sizeOf(before),
    ringBytesAfter: sizeOf(after),
  };
}

function sizeOf(ring: Ring): number {
  return RingMessage.encode(encodeRing(ring)).finish().length;
}
