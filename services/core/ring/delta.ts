/**
 * A ring as what differs from an earlier one: kv.proto's RingDelta, both ways. A flip of one partition among thousands is
 * some dozens of bytes, the whole ring tens of thousands.
 *
 * I1 `applyDelta(from, decode(encode(deltaOf(from, to))))` equals `to`.
 * I2 What comes from the wire is believed only as decodeRing would believe the whole ring.
 */
import type { PartitionOwners, RingDelta } from '../../../proto/gen/cartwheel/kv/v1/kv.ts';
import { checkRow, decodeNode, decodeVersion, encodeNode, encodeRow, encodeVersion } from './codec.ts';
import { compareVersions, createRing, epochOf, formatVersion, nodesEqual, type Ring, type RingNode } from './ring.ts';

/** Undefined where only the whole ring says it: another number of partitions or replicas, or fewer nodes. */
export function deltaOf(from: Ring, to: Ring): RingDelta | undefined {
  if (from.partitions !== to.partitions || from.replicas !== to.replicas || from.nodes.length > to.nodes.length) {
    return undefined;
  }
  const owners: Record<number, PartitionOwners> = {};
  for (let partition = 0; partition < to.partitions; partition++) {
    if (!isSameRow(from, to, partition)) owners[partition] = encodeRow(to, partition);
  }
  return {
    from: encodeVersion(from.version),
    to: encodeVersion(to.version),
    nodes: to.nodes.filter((node, i) => !isSameNode(from.nodes[i], node)).map(encodeNode),
    owners,
  };
}

/** Throws an Error that says what is wrong; `ring` must be the one that the delta was made from. */
export function applyDelta(ring: Ring | undefined, delta: RingDelta): Ring {
  const from = decodeVersion(delta.from);
  if (ring === undefined || compareVersions(from, ring.version) !== 0) {
    const known = ring === undefined ? 'none' : formatVersion(ring.version);
    throw new Error(`a change of the ring ${formatVersion(from)} came, and ${known} is known`);
  }
  const nodes = [...ring.nodes];
  for (const message of delta.nodes) {
    const node = decodeNode(message);
    if (node.index > nodes.length) {
      throw new Error(`node ${node.index} of a change of the ring comes after node ${nodes.length - 1}`);
    }
    nodes[node.index] = node;
  }
  const owners = ring.owners.slice();
  const pending = new Map(ring.pending);
  const pendingSince = new Map(ring.pendingSince);
  for (const [text, row] of Object.entries(delta.owners)) {
    const partition = Number(text);
    if (!(partition < ring.partitions)) {
      throw new Error(`a change of partition ${partition} of the ring came, and there are ${ring.partitions}`);
    }
    owners.set(checkRow(row, partition, ring.replicas, nodes.length), partition * ring.replicas);
    if (row.pending.length > 0) pending.set(partition, [...row.pending]);
    else pending.delete(partition);
    if (row.pendingSince === undefined) pendingSince.delete(partition);
    else pendingSince.set(partition, epochOf(decodeVersion(row.pendingSince)));
  }
  return createRing({ ...ring, version: decodeVersion(delta.to), nodes, owners, pending, pendingSince });
}

function isSameRow(a: Ring, b: Ring, partition: number): boolean {
  const first = partition * a.replicas;
  for (let i = first; i < first + a.replicas; i++) {
    if (a.owners[i] !== b.owners[i]) return false;
  }
  if (a.pendingSince.get(partition) !== b.pendingSince.get(partition)) return false;
  const [pendingA, pendingB] = [a.pending.get(partition) ?? [], b.pending.get(partition) ?? []];
  return pendingA.length === pendingB.length && pendingA.every((node, i) => node === pendingB[i]);
}

function isSameNode(a: RingNode | undefined, b: RingNode): boolean {
  return a !== undefined && nodesEqual(a, b);
}
