/**
 * What must come about once faults are over (P3, P6, P8, P9, P14): all hints are delivered, exchanges alone make all homes
 * hold the same, no fallback keeps what it stood in for, every key can be read from every home and shows all that was
 * acknowledged, reads find nothing left to mend, every key can be written again, and what nobody needs goes (P14).
 */
import type { RecordCodec } from '../../services/core/codec/record.ts';
import { spareEntriesMax } from '../../services/core/stability/settled.ts';
import { contains, type Dot, parseDot, printDot } from '../../services/core/versioning/causal-context.ts';
import { emptyRecord, type KeyRecord } from '../../services/core/versioning/record.ts';
import { checkCart } from '../oracle/checks/carts.ts';
import { describe, type WriteAttempt } from '../oracle/ledger.ts';
import { Violation } from '../oracle/violation.ts';
import { checkAgreement, type HeldBy } from './checks/replicas-agree.ts';
import { type Client, type ReadResult, type Token, withItem } from './client.ts';
import type { History } from './history.ts';
import { isCart, lastWriterWins, latestNamespace, storageKeyOf } from './keys.ts';
import type { Marks } from './marks.ts';
import type { CountingMetrics } from './metrics.ts';
import type { SimulatedNode } from './node.ts';
import type { Oracle } from './oracle.ts';
import type { SeededRandom } from './random.ts';

/** One finds out, one mends, the rest is for what the first two met on their way. */
const exchangeRoundsMax = 4;
const repairRoundsMax = 5;
const collectRounds = 10;
const timeoutMs = 5_000;
const triedAgainMax = 16;

export interface Cluster {
  readonly nodes: readonly SimulatedNode[];
  readonly keys: readonly string[];
  /** N. */
  readonly replicas: number;
  readonly records: RecordCodec;
  homesOf(key: string): readonly string[];
  /** Has not left, nor never joined. */
  isMember(name: string): boolean;
}

export interface LivenessOptions {
  readonly cluster: Cluster;
  readonly client: Client;
  readonly oracle: Oracle;
  readonly history: History;
  readonly marks: Marks;
  readonly metrics: CountingMetrics;
  /** Records on disks were damaged. */
  readonly damaged: boolean;
  /** No node has forgotten a request to make room for others. */
  readonly remembersAll: boolean;
  readonly random: SeededRandom;
  /** Lets time pass until the work is done. Throws what it throws. */
  runUntilDone(work: Promise<unknown>): Promise<void>;
  /** Lets everything under way come to its end. */
  settle(): Promise<void>;
}

export async function converge(options: LivenessOptions): Promise<void> {
  if (options.damaged) await repairDamaged(options);
  await checkHintsDelivered(options);
  await checkDigests(options);
  await exchangeAll(options);
  await checkHandedOver(options);
  await compareReplicas(options);
  await repairByReading(options);
  await compareReplicas(options);
  await checkLosers(options);
  await options.runUntilDone(tryAgain(options));
  await collectAll(options);
  await compareReplicas(options);
  await options.runUntilDone(writeAgain(options));
}

async function checkHintsDelivered({ cluster }: LivenessOptions): Promise<void> {
  for (const { name, owes, isLeftBehind } of cluster.nodes) {
    if (owes.length > 0 && !isLeftBehind) throw new Violation('P6', `${name} still owes records to ${owes.join(', ')}`);
  }
}

/** What no read has found damaged verification finds, and the other homes mend. */
async function repairDamaged({ cluster: { nodes, keys }, runUntilDone, settle }: LivenessOptions): Promise<void> {
  for (const node of nodes) await runUntilDone(node.verifyDigests());
  await settle();
  for (const key of keys) {
    const bad = nodes.find((node) => node.onDisk(key) === 'damaged');
    if (bad !== undefined) throw new Violation('P12', `${key} is still not whole on the disk of ${bad.name}`);
  }
}

/** Whatever happened, and whether the tree was kept or built anew, it says what the records are. */
async function checkDigests({ cluster, metrics, damaged, runUntilDone }: LivenessOptions): Promise<void> {
  const wrong = () => metrics.count('cartwheel_digests_wrong_total');
  // A record that is not whole counts as none.
  const excused = damaged ? wrong() : 0;
  for (const node of cluster.nodes) await runUntilDone(node.verifyDigests());
  if (wrong() > excused) throw new Violation('P6', `${wrong()} leaves of a digest tree were not what the records are`);
}

/** Exchanges, and nothing else, until a round of them finds nothing to mend. */
async function exchangeAll({ cluster, runUntilDone, settle }: LivenessOptions): Promise<void> {
  for (let round = 0; round < exchangeRoundsMax; round++) {
    let moved = 0;
    for (const node of cluster.nodes) {
      const compare = async () => {
        moved += await node.compareAll();
      };
      await runUntilDone(compare());
    }
    await settle();
    if (moved === 0) return;
  }
  throw new Violation('P6', `exchanges still find something to mend after ${exchangeRoundsMax} rounds without faults`);
}

/** Before any read: what receipts said was owed to a home is there, and nothing is left where it does not belong. */
async function checkHandedOver({ cluster, oracle, runUntilDone }: LivenessOptions): Promise<void> {
  const { keys, nodes, records, homesOf } = cluster;
  for (const { write, dot, home, isLost } of oracle.owed) {
    const named = parseDot(dot) as Dot;
    if (isLost() || oracle.cuts.forgotten(write.key, named) || oracle.cuts.letGo(write.key, named)) continue;
    // Owed to those that own it now.
    if (!homesOf(write.key).includes(home)) continue;
    const check = async () => {
      const bytes = await nodes.find(({ name }) => name === home)?.held(storageKeyOf(write.key));
      const { clock, siblings } = bytes === undefined ? emptyRecord : records.decode(bytes);
      if (contains(clock, named)) return;
      // A mark instead of a hint leads to an exchange, and that compares what lives: a delete leaves nothing, and has
      // come when what it replaced is gone.
      const isBare = write.kind === 'delete' && !lastWriterWins(write.key);
      if (isBare && !siblings.some(({ dot }) => contains(write.context, dot))) return;
      throw new Violation('P6', `${home} has never got ${describe(write)}, which its receipt said was owed to it`);
    };
    await runUntilDone(check());
  }
  for (const key of keys) {
    for (const node of nodes.filter(({ name }) => !homesOf(key).includes(name))) {
      const check = async () => {
        if (node.isLeftBehind) return;
        if ((await node.held(storageKeyOf(key))) !== undefined)
          throw new Violation(
            'P6',
            `${node.name} still keeps ${key}, of which it is no home and which it owes to nobody`,
          );
      };
      await runUntilDone(check());
    }
  }
}

/** Gets with r = N through every home, until one round finds nothing to mend. */
async function repairByReading(options: LivenessOptions): Promise<void> {
  const { cluster, metrics, runUntilDone, settle } = options;
  for (let round = 0; round < repairRoundsMax; round++) {
    const repairs = metrics.count('cartwheel_read_repairs_total');
    for (const key of cluster.keys) {
      for (const home of cluster.homesOf(key)) await runUntilDone(readAll(options, key, home));
    }
    await settle();
    if (metrics.count('cartwheel_read_repairs_total') === repairs) return;
  }
  throw new Violation('P6', `reads still find something to mend after ${repairRoundsMax} rounds without faults`);
}

/** With r = N every read is checked against all that was acknowledged (checks/reads.ts). */
async function readAll(
  { cluster, client, oracle, marks }: LivenessOptions,
  key: string,
  home: string,
): Promise<ReadResult> {
  const read = await client.get(key, {
    r: cluster.replicas,
    via: [home],
    timeoutMs,
    faultsAreOver: true,
  });
  if (read === undefined) throw new Violation('P9', `${key} cannot be read from ${home}, and faults are over`);
  if (isCart(key)) checkCart(oracle.ledger, key, read.values);
  if (!lastWriterWins(key)) markEnd(oracle.ledger.writesOf(key), read, marks);
  return read;
}

function markEnd(all: readonly WriteAttempt[], { writes }: ReadResult, marks: Marks): void {
  for (const write of all) {
    if (write.kind === 'delete' || write.outcome !== 'acknowledged') continue;
    const { replacedBy } = write;
    if (!writes.has(write)) {
      if ([...replacedBy].every(({ outcome }) => outcome === 'unknown')) {
        marks.add('an acknowledged write was overwritten by one of unknown outcome');
      }
    } else if (all.some((other) => other.kind === 'delete' && concurrent(write, other) && !replacedBy.has(other))) {
      marks.add('a put survived a concurrent delete');
    }
  }
}

/** Both acknowledged, each begun before the other had ended. */
function concurrent(a: WriteAttempt, b: WriteAttempt): boolean {
  if (a.endedAt === undefined || b.endedAt === undefined || b.outcome !== 'acknowledged') return false;
  return a.startedAt < b.endedAt && b.startedAt < a.endedAt;
}

/** Namespaces keep what lost for longer than all of this takes, whatever wall clocks do. */
async function checkLosers({ cluster, oracle, runUntilDone }: LivenessOptions): Promise<void> {
  const left = new Set<string>();
  const look = async (node: SimulatedNode) => {
    const listed = await node.losers(latestNamespace);
    oracle.losers.listed(node.name, listed);
    // Nobody is shown the ledger of a node that has left (`cartwheel losers` asks those of the ring).
    if (!cluster.isMember(node.name)) return;
    for (const dot of listed) left.add(dot);
    for (const key of cluster.keys.filter(lastWriterWins)) {
      for (const { dot } of (await heldBy(cluster, node, key)).siblings) left.add(printDot(dot));
    }
  };
  await runUntilDone(Promise.all(cluster.nodes.map(look)));
  for (const key of cluster.keys.filter(lastWriterWins)) oracle.lastWriter.ended(key, left);
}

/**
 * P14: with every node there, what nobody needs goes: no home keeps a tombstone, and clocks have few entries besides those
 * of what lives. It takes two looks to find it, and two more whenever homes had first to be made the same: where each let
 * something else go of a long clock, more than once.
 */
async function collectAll({ cluster, runUntilDone, settle }: LivenessOptions): Promise<void> {
  for (let round = 0; round < collectRounds; round++) {
    for (const node of cluster.nodes) await runUntilDone(node.collectAll());
    await settle();
  }
  for (const key of cluster.keys) {
    for (const node of cluster.nodes.filter(({ name }) => cluster.homesOf(key).includes(name))) {
      const check = async () => {
        const { clock, siblings } = await heldBy(cluster, node, key);
        const spare = clock.filter(({ actor }) => !siblings.some(({ dot }) => dot.actor === actor));
        const isTombstone = clock.length > 0 && siblings.length === 0;
        if (!isTombstone && spare.length <= spareEntriesMax) return;
        const entries = `${clock.length} entries, ${siblings.length} siblings`;
        throw new Violation('P14', `${node.name} still keeps what nobody needs of ${key}: ${entries}`);
      };
      await runUntilDone(check());
    }
  }
}

async function heldBy({ records }: Cluster, node: SimulatedNode, key: string): Promise<KeyRecord> {
  const bytes = await node.held(storageKeyOf(key));
  return bytes === undefined ? emptyRecord : records.decode(bytes);
}

async function compareReplicas({ cluster, oracle, history, runUntilDone }: LivenessOptions): Promise<void> {
  const { keys, nodes, homesOf } = cluster;
  for (const key of keys) {
    const held: HeldBy[] = [];
    const homes = nodes.filter(({ name }) => homesOf(key).includes(name));
    const ask = async (node: SimulatedNode) => {
      const record = await heldBy(cluster, node, key);
      held.push({ node: node.name, record });
      if (lastWriterWins(key)) oracle.losers.held(node.name, key, record);
    };
    await runUntilDone(Promise.all(homes.map(ask)));
    checkAgreement(key, held);
    history.note('agreed', key, held[0]?.record.siblings.map(({ dot }) => printDot(dot)).join(' '));
  }
}

/**
 * P5, across whatever changes of the ring there were: a write that homes acknowledged is known by its request id to those
 * that are its homes now. Of those that nothing may have been forgotten of.
 */
async function tryAgain({ cluster, client, oracle, marks, random, remembersAll }: LivenessOptions): Promise<void> {
  if (!remembersAll) return;
  const sure = [...oracle.ledger.all()].filter(({ key, requestId, outcome, homes, copies, dots }) => {
    const isForgotten = [...dots].some((dot) => oracle.cuts.forgotten(key, parseDot(dot) as Dot));
    return requestId !== undefined && outcome === 'acknowledged' && homes > 0 && copies === undefined && !isForgotten;
  });
  for (const attempt of random.shuffled(sure).slice(0, triedAgainMax)) {
    const known = new Set(attempt.dots);
    const before = await Promise.all(cluster.nodes.map((node) => heldBy(cluster, node, attempt.key)));
    const dot = await client.again(attempt, { via: random.shuffled(cluster.homesOf(attempt.key)), timeoutMs });
    if (dot === undefined) throw new Violation('P8', `${describe(attempt)} cannot be tried again, and faults are over`);
    // No record says whose the dot of a delete is: that of an attempt that nobody answered may be one of these.
    if (!known.has(dot) && !before.some(({ clock }) => contains(clock, parseDot(dot) as Dot)))
      throw new Violation('P5', `${describe(attempt)} was made once more, as ${dot}: nobody remembered it`);
    marks.add('a write was tried again when all was over');
  }
}

/** Through every home in turn, with w = N and the context of all there is: it is then all there is. */
async function writeAgain(options: LivenessOptions): Promise<void> {
  const { cluster, client } = options;
  for (const key of cluster.keys) {
    for (const home of cluster.homesOf(key)) {
      const { token, writes, values } = await readAll(options, key, home);
      const items = isCart(key) ? withItem(values, 'the last') : [];
      const written: Token | undefined = await client.put(key, {
        token,
        w: cluster.replicas,
        via: [home],
        timeoutMs,
        items,
      });
      if (written === undefined)
        throw new Violation('P8', `${key} cannot be written through ${home}, and faults are over`);
      const after = await client.get(key, { r: 1, via: [home], timeoutMs });
      const left = [...(after?.writes ?? [])].filter((write) => writes.has(write));
      if (left.length > 0)
        throw new Violation('P2', `${left.map(describe).join(', ')} is left after a put that replaced it`);
    }
  }
}
