/**
 * How far a change of the ring has come, for people: in replicas, of which those that are just being pulled count as far as
 * their nodes say. Partitions are flipped many at a time, so what is flipped alone stands still for as long as it takes to
 * pull the next ones, and a time to go by it would only grow.
 */
import { createRecentPace, type RecentPace } from '../background/recent-pace.ts';
import { addNodes } from '../ring/change.ts';
import { rowOf } from '../ring/plan.ts';
import { isHome, type Ring } from '../ring/ring.ts';
import { doubles, type Goal, isStagedBy, missingNodes, type Reports } from './rebalance.ts';

export interface ChangeProgress {
  /** That have to be moved still, with a fraction. */
  readonly replicasLeft: number;
  /** By the pace of the last minute; undefined: nothing moved in it, or it is too early to say. */
  readonly etaMs: number | undefined;
}

export interface ChangeProgressBook {
  /** To be told about twice a second; a change that is another one, paused or resumed begins anew. */
  look(ring: Ring, goal: Goal, reports: Reports, now: number): void;
  /** As of the last look, of this goal; undefined: it was not looked at yet. */
  of(goal: Goal, now: number): ChangeProgress | undefined;
}

/** Steps of a change take a second and a half: before a few of them its pace is chance. */
const tellAfterMs = 5_000;

export function createChangeProgress(): ChangeProgressBook {
  let watched: { readonly id: string; readonly paused: boolean; readonly since: number; pace: RecentPace } | undefined;
  let left = 0;
  const isWatched = ({ id, paused }: Goal) => watched?.id === id && watched.paused === paused;
  return {
    look(ring, goal, reports, now) {
      left = replicasLeft(ring, goal, reports);
      const { id, paused } = goal;
      if (!isWatched(goal)) watched = { id, paused, since: now, pace: createRecentPace(-left, now) };
      watched?.pace.reached(-left, now);
    },
    of(goal, now) {
      if (watched === undefined || !isWatched(goal)) return undefined;
      const isTold = !goal.paused && left > 0 && now - watched.since >= tellAfterMs;
      return { replicasLeft: left, etaMs: isTold ? watched.pace.etaMs(left, now) : undefined };
    },
  };
}

/** What the nodes that take over say they have pulled of partitions that are staged is not left. */
export function replicasLeft(ring: Ring, goal: Goal, reports: Reports): number {
  if (doubles(ring, goal)) return 0;
  const grown = addNodes(ring, missingNodes(ring, goal));
  let left = 0;
  for (let partition = 0; partition < grown.partitions; partition++) {
    const entering = rowOf(goal.owners, partition, grown.replicas).filter((node) => !isHome(grown, partition, node));
    const isStaged = entering.length > 0 && isStagedBy(grown, goal, partition);
    for (const node of entering) left += isStaged ? 1 - pulledOf(partition, grown.nodes[node]?.id ?? '', reports) : 1;
  }
  return left;
}

/** 0 to 1. */
function pulledOf(partition: number, id: string, reports: Reports): number {
  const report = reports.get(id);
  return report?.pulled.has(partition) === true ? 1 : (report?.pulling?.get(partition) ?? 0);
}
