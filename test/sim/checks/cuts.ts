/**
 * Which dots nodes have really forgotten: the one thing that may make a covered sibling show again (P4,
 * docs/architecture.md). Exact, dot by dot: what a cut takes from one key excuses nothing about another, and what
 * a node has never known it cannot have forgotten.
 *
 * A clock that is left with fewer entries than a cut leaves was shortened because all that it covered is gone
 * (core/stability): that excuses nothing.
 *
 * Looks at one state after the other of each node's copy of each key, within one life: what a crash loses was
 * never acknowledged, and is not forgotten but gone.
 */
import {
  type CausalContext,
  contains,
  type Dot,
  includes,
  join,
  printDot,
} from '../../../services/core/versioning/causal-context.ts';
import { clockEntriesMax, detachedDotsMax, type KeyRecord } from '../../../services/core/versioning/record.ts';
import type { NodeLife } from '../births.ts';
import type { Marks } from '../marks.ts';

export interface CutWatch {
  /** The node's copy is gone, handed over to where it belongs or damaged: it has not forgotten what was in it. */
  dropped(life: Pick<NodeLife, 'node'>, key: string): void;
  /** The node's copy, now; empty where it has none. */
  holds(life: NodeLife, key: string, record: KeyRecord): void;
  /** The node is told of a clock, or finds it on its disk: what it then does not hold it has forgotten. */
  learns(life: NodeLife, key: string, clock: CausalContext): void;
  /** Whether any node has forgotten the dot, at that time or later. */
  forgotten(key: string, dot: Dot, since?: number): boolean;
  /** A home has let go of the tombstone of the key, whose clock this was. */
  wentWith(key: string, clock: CausalContext): void;
  /** Whether a home has let go of the dot, because all that was covered with it is gone: no replica need have it. */
  letGo(key: string, dot: Dot): boolean;
  /** Dots. */
  readonly count: number;
}

export function createCutWatch(now: () => number, marks: Marks): CutWatch {
  const latest = new Map<string, { readonly life: number; readonly clock: CausalContext }>();
  /** When it was last forgotten, by key and dot. */
  const forgotten = new Map<string, number>();
  /** By key and dot. */
  const gone = new Set<string>();
  return {
    holds(life, key, { clock, siblings }) {
      const name = `${life.node} ${key}`;
      const before = latest.get(name);
      latest.set(name, { life: life.number, clock });
      if (before?.life !== life.number || clock.length === 0 || includes(clock, before.clock)) return;
      const spare = clock.filter(({ actor }) => !siblings.some(({ dot }) => dot.actor === actor)).length;
      if (spare < clockEntriesMax && detachedIn(before.clock) < detachedDotsMax) {
        marks.add('a clock was shortened');
        for (const dot of dotsOf(before.clock)) if (!contains(clock, dot)) gone.add(`${key} ${printDot(dot)}`);
        return;
      }
      for (const dot of dotsOf(before.clock)) {
        if (!contains(clock, dot)) forgotten.set(`${key} ${printDot(dot)}`, now());
      }
    },
    learns(life, key, clock) {
      const name = `${life.node} ${key}`;
      const before = latest.get(name);
      const known = before?.life === life.number ? before.clock : [];
      latest.set(name, { life: life.number, clock: join(known, clock) });
    },
    dropped(life, key) {
      latest.delete(`${life.node} ${key}`);
    },
    forgotten(key, dot, since = 0) {
      const at = forgotten.get(`${key} ${printDot(dot)}`);
      return at !== undefined && at >= since;
    },
    wentWith(key, clock) {
      for (const dot of dotsOf(clock)) gone.add(`${key} ${printDot(dot)}`);
    },
    letGo: (key, dot) => gone.has(`${key} ${printDot(dot)}`),
    get count() {
      return forgotten.size;
    },
  };
}

function detachedIn(clock: CausalContext): number {
  return clock.reduce((sum, { detached }) => sum + detached.length, 0);
}

/** One by one: counters are small here. */
export function* dotsOf(clock: CausalContext): Generator<Dot, void, void> {
  for (const { actor, upTo, detached } of clock) {
    for (let counter = 1; counter <= upTo; counter++) yield { actor, counter };
    for (const counter of detached) yield { actor, counter };
  }
}
