/**
 * Whether what a directory remembers of a cluster is this process's to go on with. Asked before it says anything of itself.
 *
 * I1 Only others speak against it: every seed is of another cluster, or somebody else answers as this node. Who cannot be
 *    asked, or knows no cluster yet, does not: a node starts without its seeds, and the one seed that is out of reach may be
 *    the one that is of its cluster.
 */
import type { GossipResponse } from '../../../proto/gen/cartwheel/membership/v1/membership.ts';
import { ask, take } from '../../core/membership/exchange.ts';
import type { Member } from '../../core/membership/member.ts';
import { createMembership, type Membership } from '../../core/membership/membership.ts';
import { type Settings, settingsOf } from '../../core/membership/settings.ts';
import { xxh64 } from '../hash.ts';
import { DataDirectoryError } from '../rocksdb/data-directory.ts';
import type { GossipTransport } from './gossip.ts';
import { decodeRemembered } from './remembered.ts';
import { createGrpcGossipTransport } from './transport-grpc.ts';

export interface MemoryInQuestion {
  /** As people find it. */
  readonly directory: string;
  readonly remembered: Uint8Array | undefined;
  /** Undefined for a process that is no storage node. */
  readonly self?: Pick<Member, 'id' | 'address'> | undefined;
  /** Not this process itself. */
  readonly seeds: readonly string[];
}

interface Means {
  readonly settings: Settings;
  readonly transport: GossipTransport;
}

/** As long as a round of gossip waits: a start without its seeds takes so much longer. */
const ANSWER_WITHIN_MS = 900;

/** Throws a DataDirectoryError where it is another one's. */
export async function refuseForeign(memory: MemoryInQuestion): Promise<void> {
  const transport = createGrpcGossipTransport();
  try {
    const foreign = await whatIsForeign(memory, { settings: settingsOf(xxh64), transport });
    if (foreign !== undefined) throw new DataDirectoryError(foreign);
  } finally {
    transport.close();
  }
}

/** What is wrong with it, and what to do; undefined where nobody says that anything is. */
export async function whatIsForeign(memory: MemoryInQuestion, means: Means): Promise<string | undefined> {
  const { clusterId, members } = decodeRemembered(memory.remembered);
  if (clusterId === '') return undefined;
  const answers = await Promise.all(memory.seeds.map((seed) => whoIsAt(seed, means)));
  const { directory, self } = memory;
  const others = answers.filter((answer) => answer !== undefined && !['', clusterId].includes(answer.known.clusterId));
  const [other] = others;
  if (other !== undefined && others.length === answers.length) {
    const theirs = other.known.clusterId;
    return (
      `data directory ${directory} is of cluster ${clusterId}, and the seed ${other.address} is of cluster ${theirs}. ` +
      `Start it with the seeds of its own cluster (--seeds), or in cluster ${theirs} with another directory, such as an ` +
      'empty one (--data)'
    );
  }
  if (self === undefined) return undefined;
  const known = [
    members.find(({ id }) => id === self.id),
    ...answers.map((answer) => answer?.known.members.get(self.id)),
  ];
  const elsewhere = new Set(known.flatMap((member) => (member === undefined ? [] : [member.address])));
  elsewhere.delete(self.address);
  const there = await Promise.all([...elsewhere].map((address) => whoIsAt(address, means)));
  const twin = there.find((answer) => answer?.id === self.id);
  if (twin === undefined) return undefined;
  return (
    `data directory ${directory} is of node ${self.id}, which runs at ${twin.address}: it is a copy of that node's directory, ` +
    `and ${self.address} is to be another node. Start it with a directory of its own, such as an empty one (--data); to move ` +
    'the node here, end the other process first'
  );
}

interface Answer {
  readonly address: string;
  /** Empty where it is no storage node. */
  readonly id: string;
  readonly known: Membership;
}

/** Asks as a stranger, of whom nobody keeps anything. */
async function whoIsAt(address: string, { transport, settings }: Means): Promise<Answer | undefined> {
  const stranger = createMembership(
    { clusterId: '', members: [], ring: undefined, namespaces: [] },
    undefined,
    settings,
  );
  try {
    const answer: GossipResponse = await transport.exchange(address, ask(stranger), ANSWER_WITHIN_MS);
    const [known] = take(stranger, answer, 0);
    return { address, id: answer.responderId, known };
  } catch {
    return undefined;
  }
}
