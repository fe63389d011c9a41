/**
 * Waits for a quorum of answers: the shell around core/quorum/tally.ts.
 *
 * I1 The outcome is decided once. Answers that come later are kept in `answers` still (a repair may want
 *    them), and change nothing.
 */
import type { Cancellation } from '../core/cancellation.ts';
import type { Deadlines } from '../core/deadlines.ts';
import { RingMoved } from '../core/quorum/peers.ts';
import {
  openTally,
  type Tally,
  withAnother,
  withAnswer,
  withFailure,
  withOneMoreNeeded,
} from '../core/quorum/tally.ts';

/** `moved`: before it was decided a replica said that it knows a newer ring. */
export type Outcome = 'enough' | 'impossible' | 'late' | 'moved' | 'cancelled';

export interface Answer<T> {
  readonly nodeId: string;
  readonly value: T;
}

export interface Quorum<T> {
  readonly answers: Answer<T>[];
  readonly tally: Tally;
  /** Adds a replica that was asked beyond those announced at the start. */
  ask(nodeId: string, answer: Promise<T>): void;
  readonly outcome: Promise<Outcome>;
  /** Who said so. */
  readonly moved: RingMoved | undefined;
  /** All that were asked have answered or failed. */
  readonly over: Promise<void>;
}

export interface QuorumOptions<T> {
  readonly needed: number;
  readonly deadline: number;
  /** Ends it without a quorum; never where it is not given. */
  readonly cancellation?: Cancellation;
  readonly deadlines: Deadlines;
  /** All of these count as asked before the first answer is looked at. */
  readonly asked: readonly (readonly [nodeId: string, answer: Promise<T>])[];
  /** Whether these are the right ones, once there are enough; all are where it is not given. */
  satisfied?(answers: readonly Answer<T>[]): boolean;
  /** A replica failed: whom to ask instead, if anybody is left. */
  onFailure?(nodeId: string, error: unknown): readonly [nodeId: string, answer: Promise<T>] | undefined;
}

export function gatherQuorum<T>(options: QuorumOptions<T>): Quorum<T> {
  const { needed, deadline, deadlines, asked, satisfied, onFailure } = options;
  const answers: Answer<T>[] = [];
  const { promise: outcome, resolve } = Promise.withResolvers<Outcome>();
  const { promise: over, resolve: end } = Promise.withResolvers<void>();
  const alarm = deadlines.set(deadline, () => resolve('late'));
  options.cancellation?.onCancel(() => {
    alarm.cancel();
    resolve('cancelled');
  });

  function update(next: Tally): void {
    quorum.tally = next;
    // `satisfied` may ask others, which changes the tally.
    if (next.verdict === 'enough' && satisfied?.(answers) === false) quorum.tally = withOneMoreNeeded(quorum.tally);
    const { outstanding, verdict } = quorum.tally;
    if (outstanding === 0) end();
    if (verdict === 'open') return;
    alarm.cancel();
    resolve(verdict);
  }

  function listen(nodeId: string, answer: Promise<T>): void {
    answer.then(
      (value) => {
        answers.push({ nodeId, value });
        update(withAnswer(quorum.tally));
      },
      (error: unknown) => {
        if (error instanceof RingMoved) {
          quorum.moved ??= error;
          resolve('moved');
          alarm.cancel();
        }
        const instead = onFailure?.(nodeId, error);
        if (instead !== undefined) {
          quorum.tally = withAnother(quorum.tally);
          listen(...instead);
        }
        update(withFailure(quorum.tally));
      },
    );
  }

  // Fields, and no accessors: each object with an accessor of its own gets a hidden class of its own from V8, in the old
  // generation, and that keeps all that the accessor can see, an operation, alive through every scavenge.
  const quorum: Changing<Quorum<T>> = {
    answers,
    tally: openTally(needed, asked.length),
    outcome,
    moved: undefined,
    over,
    ask(nodeId, answer) {
      quorum.tally = withAnother(quorum.tally);
      listen(nodeId, answer);
    },
  };
  for (const [nodeId, answer] of asked) listen(nodeId, answer);
  update(quorum.tally);
  return quorum;
}

type Changing<T> = { -readonly [Field in keyof T]: T[Field] };
