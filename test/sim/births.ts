/** Which births nodes mint under, across their lives: for the marks about the birth rule. Checks nothing. */
import type { Birth } from '../../services/core/versioning/birth.ts';
import { type CausalContext, lastCounter } from '../../services/core/versioning/causal-context.ts';
import type { Marks } from './marks.ts';

/** A node from one start to the next stop or crash. */
export interface NodeLife {
  readonly node: string;
  readonly number: number;
  /** Of its storage engine: what it mints under. */
  readonly lineage: bigint;
  readonly startedAfter: 'nothing' | 'a clean stop' | 'a crash';
}

export interface BirthWatch {
  stored(life: NodeLife, key: string, birth: Birth, clock: CausalContext): void;
}

interface Kept {
  readonly life: number;
  readonly actor: bigint;
  readonly counter: number;
}

export function createBirthWatch(marks: Marks): BirthWatch {
  const latest = new Map<string, Kept>();
  return {
    stored(life, key, { actor }, clock) {
      const name = `${life.node} ${key}`;
      const before = latest.get(name);
      const counter = lastCounter(clock, actor);
      if (before !== undefined && before.life < life.number) {
        const minted = actor === before.actor && counter > before.counter;
        if (minted && life.startedAfter === 'a clean stop') marks.add('a clean restart minted under the kept birth');
        if (actor !== before.actor && life.startedAfter === 'a crash') marks.add('a crash ended a birth');
      }
      if (before?.actor !== actor || counter > before.counter) latest.set(name, { life: life.number, actor, counter });
    },
  };
}
