/**
 * The barrier: how a home finds out that what records cover is gone for good, everywhere (causal stability). A machine;
 * the questions are put by services/storage-node/collection.ts, and answered by services/storage-node/barriers.ts.
 *
 *     agreed      all homes have said that they hold the very same record, synced
 *     armed       every node of the ring has said that it keeps nothing of the partition that belongs elsewhere, and
 *                 watches from then on whether something comes
 *        ── a new era is begun ──
 *     crossed     every node has gone over to it, on its disk, and nothing had come until then
 *
 * Then the dots that these records cover are in no record of any node but as covered, and nothing that was read before
 * is taken any more (era.ts): each home may forget them, when it likes. Why: docs/collection.md.
 *
 * I1 What nobody has said counts as no: a node that does not answer, has another ring, or was restarted between the two
 *    questions. A ring that changes, or has a node that is DOWN, lets nothing begin.
 * I2 A node has crossed only if it is in this era, and no later one: who is in a later one may have been there before the
 *    others were asked.
 */
import { epochOf, nodeById, type Ring } from '../ring/ring.ts';
import { eraAfter } from './era.ts';

export interface Armed {
  readonly era: number;
  /** Those for which the answer was yes. */
  readonly partitions: readonly number[];
}

export type Crossed = Armed;

export interface Barrier {
  /** Who has to answer both questions: every node of the ring, this one too. */
  readonly nodes: readonly string[];
  /** Of the ring that all of them must know. */
  readonly epoch: number;
  armed(nodeId: string, answer: Armed): void;
  /** The era to begin; undefined: no partition can be gone on with. */
  begin(): number | undefined;
  crossed(nodeId: string, answer: Crossed): void;
  /** Partitions whose records are stable, of those that were asked for. */
  stable(): ReadonlySet<number>;
  /** Who has not said yes, for all that was asked for, to the last question that was put. */
  heldBy(): readonly string[];
}

/**
 * Why the ring lets no barrier begin; undefined: it does. A node that is JOINING with nothing on its way, after a change that
 * was rolled back say, is asked like any other: it may be so for as long as nobody plans again.
 */
export function objection({ pending, nodes }: Ring): string | undefined {
  if (pending.size > 0) return `the ring to stop changing: ${pending.size} partitions are on their way`;
  const moving = nodes.filter(({ status }) => status === 'LEAVING' || status === 'DOWN');
  if (moving.length > 0) return `${moving.map(({ address, status }) => `${address}, which is ${status}`).join(', ')}`;
  return undefined;
}

/** `self`: id of the node that begins it. Throws where the ring lets none begin, or the node is not in it. */
export function createBarrier(ring: Ring, self: string, partitions: Iterable<number>): Barrier {
  const beginner = nodeById(ring, self);
  const why = objection(ring);
  if (beginner === undefined || why !== undefined) throw new Error(`no barrier now: ${why ?? `${self} is no node`}`);
  const nodes = ring.nodes.filter(({ status }) => status !== 'LEFT').map(({ id }) => id);
  const wanted = new Set(partitions);
  const armedBy = new Map<string, Armed>();
  const crossedBy = new Map<string, Crossed>();
  let era: number | undefined;

  function agreedBy(answers: ReadonlyMap<string, Armed>): Set<number> {
    if (nodes.some((id) => !answers.has(id))) return new Set();
    return new Set([...wanted].filter((p) => [...answers.values()].every((answer) => answer.partitions.includes(p))));
  }

  return {
    nodes,
    epoch: epochOf(ring.version),
    armed: (nodeId, answer) => void armedBy.set(nodeId, answer),
    begin() {
      if (agreedBy(armedBy).size === 0) return undefined;
      era = eraAfter(
        [...armedBy.values()].map((answer) => answer.era),
        beginner.index,
      );
      return era;
    },
    crossed: (nodeId, answer) => void crossedBy.set(nodeId, answer),
    stable() {
      if ([...crossedBy.values()].some((answer) => answer.era !== era)) return new Set();
      const armed = agreedBy(armedBy);
      return new Set([...agreedBy(crossedBy)].filter((partition) => armed.has(partition)));
    },
    heldBy() {
      const answers = era === undefined ? armedBy : crossedBy;
      return nodes.filter((id) => {
        const answer = answers.get(id);
        if (answer === undefined || (era !== undefined && answer.era !== era)) return true;
        const agreed = new Set(answer.partitions);
        return [...wanted].some((partition) => !agreed.has(partition));
      });
    },
  };
}
