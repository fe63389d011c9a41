/**
 * The ring as a value: who owns which partition, at one version. Never changed, only replaced.
 *
 * Not here: how owners are chosen (claim.ts), what the wire carries (codec.ts), who may issue a ring
 * (core/membership).
 *
 * I1 `partitions` is a power of two, 1..65536.
 * I2 Every partition has exactly `replicas` owners, all of them distinct.
 * I3 `nodes[i].index === i`; owners and pending nodes are such indexes. A node keeps its index for ever.
 * I4 No owner of a partition is pending for it.
 */

/** (term, sequence): term = how many claimants there have been; the higher version wins. */
export interface RingVersion {
  readonly term: bigint;
  readonly sequence: bigint;
}

/** The names of kv.proto's NodeStatus. */
export type NodeStatusName = 'JOINING' | 'UP' | 'LEAVING' | 'LEFT' | 'DOWN';

export interface RingNode {
  readonly index: number;
  readonly id: string;
  /** host:port that clients and other nodes dial. */
  readonly address: string;
  readonly host: string;
  readonly zone: string;
  /** Its share of the partitions, as against that of others, 1 to WEIGHT_MAX; 1 where it is not given. */
  readonly weight?: number | undefined;
  readonly status: NodeStatusName;
}

export interface Ring {
  readonly version: RingVersion;
  /** Q. */
  readonly partitions: number;
  /** N. */
  readonly replicas: number;
  readonly nodes: readonly RingNode[];
  /** Row by row: the owners of partition p, first the primary, are at p·replicas … p·replicas + replicas-1. */
  readonly owners: Uint16Array;
  /**
   * Nodes that get the writes of a partition besides its owners: those that take it over, and after that those that gave it
   * (change.ts). Only partitions that have some are in it.
   */
  readonly pending: ReadonlyMap<number, readonly number[]>;
  /**
   * Of partitions with pending nodes: the epoch in which owners and pending nodes came to be what they are, where that is
   * known. So whoever has passed versions over can tell whether it was given up meanwhile, and begun again.
   */
  readonly pendingSince: ReadonlyMap<number, number>;
  /** Filled by preference-list.ts on demand; not part of the value, and not enumerable. */
  readonly preferenceLists: (readonly number[] | undefined)[];
}

export type RingFields = Omit<Ring, 'preferenceLists' | 'pendingSince'> & Partial<Pick<Ring, 'pendingSince'>>;

export const PARTITIONS_MAX = 65_536;
/** Owners are kept in 16 bits. */
export const NODES_MAX = 65_535;
export const REPLICAS_MAX = 16;
/** Ten times the disk of another node, and ten times that. */
export const WEIGHT_MAX = 100;
export const termMax = 2n ** 21n - 1n;
export const sequenceMax = 2n ** 32n - 1n;

const neverKnown: ReadonlyMap<number, number> = new Map();

/** Freezes the fields into a ring. Throws an Error that names what breaks I1 to I4. */
export function createRing(fields: RingFields): Ring {
  const { version, partitions, replicas, nodes, owners, pending, pendingSince = neverKnown } = fields;
  assertShape(partitions, replicas, nodes.length);
  if (version.term > termMax || version.sequence > sequenceMax) {
    throw new Error(`a ring's version is at most ${formatVersion({ term: termMax, sequence: sequenceMax })}`);
  }
  assertNodes(nodes);
  assertOwners(fields);
  assertPending(fields);
  for (const [partition, epoch] of pendingSince) {
    if (epoch > epochOf(version))
      throw new Error(`partition ${partition} is pending since a version later than the ring's`);
  }
  const since: ReadonlyMap<number, number> = new Map([...pendingSince].filter(([partition]) => pending.has(partition)));
  const ring = {
    version: Object.freeze({ term: version.term, sequence: version.sequence }),
    partitions,
    replicas,
    nodes: Object.freeze(nodes.map((node) => Object.freeze({ ...node }))),
    owners,
    pending,
    pendingSince: since,
  };
  const preferenceLists = new Array<readonly number[] | undefined>(partitions).fill(undefined);
  Object.defineProperty(ring, 'preferenceLists', { value: preferenceLists });
  return Object.freeze(ring) as Ring;
}

/** Negative where a is older, 0 where equal, positive where a is newer. */
export function compareVersions(a: RingVersion, b: RingVersion): number {
  if (a.term !== b.term) return a.term < b.term ? -1 : 1;
  if (a.sequence !== b.sequence) return a.sequence < b.sequence ? -1 : 1;
  return 0;
}

/**
 * The version as one number, of the same order: what travels with each replica operation. Exact, because no term is
 * above `termMax`, and no sequence above `sequenceMax`.
 */
export function epochOf({ term, sequence }: RingVersion): number {
  return Number(term) * 2 ** 32 + Number(sequence);
}

/** As replica.proto has it; both 0 for what is not placed. */
export function partsOfEpoch(epoch = 0): { ringTerm: number; ringSequence: number } {
  return { ringTerm: Math.floor(epoch / 2 ** 32), ringSequence: epoch % 2 ** 32 };
}

/** Undefined for what is not placed. */
export function epochOfParts(ringTerm: number, ringSequence: number): number | undefined {
  return ringTerm * 2 ** 32 + ringSequence || undefined;
}

/** `term.sequence`, for people. */
export function formatVersion(version: RingVersion): string {
  return `${version.term}.${version.sequence}`;
}

export function isHome(ring: Ring, partition: number, node: number): boolean {
  const first = partition * ring.replicas;
  for (let i = 0; i < ring.replicas; i++) {
    if (ring.owners[first + i] === node) return true;
  }
  return false;
}

export function isPending(ring: Ring, partition: number, node: number): boolean {
  return ring.pending.get(partition)?.includes(node) ?? false;
}

/** Whether the node gets the partition's writes: as an owner, or pending. */
export function serves(ring: Ring, partition: number, node: number): boolean {
  return isHome(ring, partition, node) || isPending(ring, partition, node);
}

/** Whether the same nodes own partition p of the one and q of the other, in whatever order, and the same are pending. */
export function isServedAlike(a: Ring, p: number, b: Ring, q: number): boolean {
  const row = a.owners.subarray(p * a.replicas, (p + 1) * a.replicas);
  const other = b.owners.subarray(q * b.replicas, (q + 1) * b.replicas);
  return isSameSet(row, other) && isSameSet(a.pending.get(p) ?? [], b.pending.get(q) ?? []);
}

function isSameSet(a: ArrayLike<number>, b: ArrayLike<number>): boolean {
  return a.length === b.length && Array.from(a).every((node) => Array.prototype.includes.call(b, node));
}

/** Of the nodes that have not left, each once: two have one address where one has taken the other's place. */
export function addressesOf({ nodes }: Pick<Ring, 'nodes'>): string[] {
  return [...new Set(nodes.flatMap(({ status, address }) => (status === 'LEFT' ? [] : [address])))];
}

/** Undefined where the ring has no such node. */
export function nodeById(ring: Ring, id: string): RingNode | undefined {
  let byId = nodesById.get(ring.nodes);
  if (byId === undefined) {
    byId = new Map(ring.nodes.map((node) => [node.id, node]));
    nodesById.set(ring.nodes, byId);
  }
  return byId.get(id);
}

/** As people know it: by its address, or, where the ring does not have it, by its id. */
export function nameOfNode(
  ring: { readonly nodes: readonly Pick<RingNode, 'id' | 'address'>[] } | undefined,
  id: string,
): string {
  return ring?.nodes.find((node) => node.id === id)?.address ?? `node ${id}`;
}

/** Of rings in use: an operation asks for its own node, and does not look through all of them. */
const nodesById = new WeakMap<readonly RingNode[], ReadonlyMap<string, RingNode>>();

/** Whether two rings say the same, version included. */
export function ringsEqual(a: Ring, b: Ring): boolean {
  return (
    compareVersions(a.version, b.version) === 0 &&
    a.partitions === b.partitions &&
    a.replicas === b.replicas &&
    a.nodes.length === b.nodes.length &&
    a.nodes.every((node, i) => nodesEqual(node, b.nodes[i] as RingNode)) &&
    listsEqual(a.owners, b.owners) &&
    a.pending.size === b.pending.size &&
    [...a.pending].every(([partition, nodes]) => listsEqual(nodes, b.pending.get(partition) ?? [])) &&
    [...a.pending.keys()].every((partition) => a.pendingSince.get(partition) === b.pendingSince.get(partition))
  );
}

/** Throws unless Q is a power of two in range, N in range, and there are at least N nodes. */
export function assertShape(partitions: number, replicas: number, nodes: number): void {
  if (!isPowerOfTwo(partitions) || partitions > PARTITIONS_MAX) {
    throw new Error(`a ring has a power of two of partitions, 1 to ${PARTITIONS_MAX}, not ${partitions}`);
  }
  if (!Number.isInteger(replicas) || replicas < 1 || replicas > REPLICAS_MAX) {
    throw new Error(`a ring has 1 to ${REPLICAS_MAX} replicas, not ${replicas}`);
  }
  if (nodes > NODES_MAX) throw new Error(`a ring has at most ${NODES_MAX} nodes, not ${nodes}`);
  if (replicas > nodes) {
    throw new Error(`${replicas} replicas need at least ${replicas} nodes, and there are ${nodes}`);
  }
}

function isPowerOfTwo(n: number): boolean {
  return Number.isInteger(n) && n > 0 && n <= 2 ** 30 && (n & (n - 1)) === 0;
}

function assertNodes(nodes: readonly RingNode[]): void {
  const ids = new Set<string>();
  nodes.forEach((node, i) => {
    if (node.index !== i) throw new Error(`the node at position ${i} of the ring has index ${node.index}`);
    if (node.id === '') throw new Error(`the node at position ${i} of the ring has no id`);
    if (ids.has(node.id)) throw new Error(`the ring names the node ${node.id} twice`);
    ids.add(node.id);
  });
}

function assertOwners(fields: RingFields): void {
  const { partitions, replicas, nodes, owners } = fields;
  if (owners.length !== partitions * replicas) {
    throw new Error(
      `${partitions} partitions of ${replicas} owners make ${partitions * replicas}, not ${owners.length}`,
    );
  }
  for (let at = 0; at < owners.length; at++) {
    const owner = owners[at] as number;
    const partition = Math.floor(at / replicas);
    if (owner >= nodes.length) {
      throw new Error(`partition ${partition} is owned by node ${owner}, and there are ${nodes.length} nodes`);
    }
    for (let other = partition * replicas; other < at; other++) {
      if (owners[other] === owner) throw new Error(`partition ${partition} names node ${owner} as an owner twice`);
    }
  }
}

function assertPending(fields: RingFields): void {
  for (const [partition, pending] of fields.pending) {
    if (!(Number.isInteger(partition) && partition >= 0 && partition < fields.partitions)) {
      throw new Error(`pending owners of partition ${partition}, and there are ${fields.partitions}`);
    }
    if (pending.length === 0 || pending.length > fields.replicas || new Set(pending).size !== pending.length) {
      throw new Error(
        `partition ${partition} has the pending owners [${pending.slice(0, REPLICAS_MAX + 1).join(', ')}]: ` +
          `1 to ${fields.replicas} distinct ones are wanted`,
      );
    }
    for (const node of pending) {
      if (!(Number.isInteger(node) && node >= 0 && node < fields.nodes.length)) {
        throw new Error(
          `partition ${partition} is pending for node ${node}, and there are ${fields.nodes.length} nodes`,
        );
      }
      const first = partition * fields.replicas;
      if (fields.owners.subarray(first, first + fields.replicas).includes(node)) {
        throw new Error(`partition ${partition} is pending for node ${node}, which owns it`);
      }
    }
  }
}

export function weightOf({ weight = 1 }: { readonly weight?: number | undefined }): number {
  return weight;
}

export function nodesEqual(a: RingNode, b: RingNode): boolean {
  return (
    a.index === b.index &&
    a.id === b.id &&
    a.address === b.address &&
    a.host === b.host &&
    a.zone === b.zone &&
    weightOf(a) === weightOf(b) &&
    a.status === b.status
  );
}

function listsEqual(a: ArrayLike<number>, b: ArrayLike<number>): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) {
    if (a[i] !== b[i]) return false;
  }
  return true;
}
