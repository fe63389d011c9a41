/**
 * A ring as kv.proto's Ring message, both ways. What comes from the wire is believed only after every
 * invariant of ring.ts has been checked; an Error names the first one that does not hold.
 */
import type {
  Node as NodeMessage,
  NodeStatus as NodeStatusNumber,
  PartitionOwners,
  Ring as RingMessage,
  RingVersion as RingVersionMessage,
} from '../../../proto/gen/cartwheel/kv/v1/kv.ts';
import {
  assertShape,
  createRing,
  epochOf,
  type NodeStatusName,
  partsOfEpoch,
  type Ring,
  type RingNode,
  type RingVersion,
  WEIGHT_MAX,
  weightOf,
} from './ring.ts';

/** KEY_HASH_XXH64. */
const KEY_HASH_XXH64 = 1;

const STATUS_NUMBERS = {
  JOINING: 1,
  UP: 2,
  LEAVING: 3,
  LEFT: 4,
  DOWN: 5,
} as const satisfies Record<NodeStatusName, NodeStatusNumber>;
const STATUS_NAMES: readonly (NodeStatusName | undefined)[] = [undefined, 'JOINING', 'UP', 'LEAVING', 'LEFT', 'DOWN'];

/** Longest id, address, host or zone that is taken from the wire. */
export const NAME_LENGTH_MAX = 255;

export function encodeRing(ring: Ring): RingMessage {
  return {
    version: encodeVersion(ring.version),
    hash: KEY_HASH_XXH64,
    partitions: ring.partitions,
    replicas: ring.replicas,
    nodes: ring.nodes.map(encodeNode),
    owners: Array.from({ length: ring.partitions }, (_, partition) => encodeRow(ring, partition)),
  };
}

export function encodeNode(node: RingNode): NodeMessage {
  return { ...node, weight: weightOf(node), status: encodeStatus(node.status) };
}

export function encodeRow(ring: Ring, partition: number): PartitionOwners {
  const first = partition * ring.replicas;
  return {
    owners: [...ring.owners.subarray(first, first + ring.replicas)],
    pending: [...(ring.pending.get(partition) ?? [])],
    pendingSince: encodeEpoch(ring.pendingSince.get(partition)),
  };
}

/** Throws an Error that names what is wrong. */
export function decodeRing(message: RingMessage): Ring {
  if (message.hash !== KEY_HASH_XXH64)
    throw new Error(`the ring's hash is ${message.hash}, and only XXH64 (1) is known`);
  const { partitions, replicas } = message;
  assertShape(partitions, replicas, message.nodes.length);
  if (message.owners.length !== partitions) {
    throw new Error(`the ring has ${partitions} partitions, and names the owners of ${message.owners.length}`);
  }
  const owners = new Uint16Array(partitions * replicas);
  const pending = new Map<number, readonly number[]>();
  const pendingSince = new Map<number, number>();
  for (const [partition, row] of message.owners.entries()) {
    owners.set(checkRow(row, partition, replicas, message.nodes.length), partition * replicas);
    if (row.pending.length > 0) pending.set(partition, [...row.pending]);
    if (row.pendingSince !== undefined) pendingSince.set(partition, epochOf(decodeVersion(row.pendingSince)));
  }
  const nodes = message.nodes.map(decodeNode).sort((a, b) => a.index - b.index);
  return createRing({
    version: decodeVersion(message.version),
    partitions,
    replicas,
    nodes,
    owners,
    pending,
    pendingSince,
  });
}

/**
 * The owners of a row, as many as there are replicas, all of them nodes of the ring: what must be so before they are cut
 * to 16 bits. Throws an Error that names what is wrong.
 */
export function checkRow(row: PartitionOwners, partition: number, replicas: number, nodes: number): readonly number[] {
  if (row.owners.length !== replicas) {
    throw new Error(`partition ${partition} has ${row.owners.length} owners, and the ring says ${replicas}`);
  }
  const stranger = row.owners.find((owner) => !(owner < nodes));
  if (stranger !== undefined) {
    throw new Error(`partition ${partition} is owned by node ${stranger}, and there are ${nodes} nodes`);
  }
  return row.owners;
}

function encodeEpoch(epoch: number | undefined): RingVersionMessage | undefined {
  if (epoch === undefined) return undefined;
  const { ringTerm, ringSequence } = partsOfEpoch(epoch);
  return { term: BigInt(ringTerm), sequence: BigInt(ringSequence) };
}

export function encodeVersion(version: RingVersion): RingVersionMessage {
  return { term: version.term, sequence: version.sequence };
}

/** Throws where it is absent, or zero in both parts, which no claimant issues. */
export function decodeVersion(message: RingVersionMessage | undefined): RingVersion {
  if (message === undefined) throw new Error('the ring has no version');
  if (message.term === 0n && message.sequence === 0n) throw new Error('the ring has the version 0.0');
  return { term: message.term, sequence: message.sequence };
}

export function encodeStatus(status: NodeStatusName): NodeStatusNumber {
  return STATUS_NUMBERS[status];
}

/** Throws where the number is none of the statuses. `whose` is for the message. */
export function decodeStatus(status: number, whose: string): NodeStatusName {
  const name = STATUS_NAMES[status];
  if (name === undefined) throw new Error(`the status of ${whose} is ${status}, which is none`);
  return name;
}

/** Throws where a name from the wire is too long, or empty and must not be. */
export function checkName(value: string, what: string, mayBeEmpty: boolean): string {
  if (value === '' && !mayBeEmpty) throw new Error(`${what} is empty`);
  if (value.length > NAME_LENGTH_MAX) {
    throw new Error(`${what} has ${value.length} characters, and at most ${NAME_LENGTH_MAX} are allowed`);
  }
  return value;
}

/** As a part of a node: nothing for the usual one. Throws where it is more than a node may have. */
export function checkWeight(weight: number, what: string): { readonly weight?: number } {
  if (weight > WEIGHT_MAX) throw new Error(`${what} is ${weight}, and at most ${WEIGHT_MAX} is allowed`);
  return weight > 1 ? { weight } : {};
}

/** Throws where an address from the wire is not HOST:PORT: a name, an IPv4 address, or an IPv6 one in brackets. */
export function checkAddress(value: string, what: string): string {
  const address = checkName(value, what, false);
  const port = /^(?:\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+):(\d{1,5})$/.exec(address)?.[1];
  if (port === undefined || Number(port) < 1 || Number(port) > 65_535) {
    throw new Error(`${what} is ${JSON.stringify(address)}, and HOST:PORT is wanted`);
  }
  return address;
}

/** Throws an Error that names what is wrong. */
export function decodeNode(node: NodeMessage): RingNode {
  const whose = `node ${node.index} of the ring`;
  return {
    index: node.index,
    id: checkName(node.id, `the id of ${whose}`, false),
    address: checkAddress(node.address, `the address of ${whose}`),
    host: checkName(node.host, `the host of ${whose}`, true),
    zone: checkName(node.zone, `the zone of ${whose}`, true),
    ...checkWeight(node.weight, `the weight of ${whose}`),
    status: decodeStatus(node.status, whose),
  };
}
