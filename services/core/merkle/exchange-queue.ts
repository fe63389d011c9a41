/**
 * When this node compares which partition with whom. Every pair in turn, at random times, about once in `everyMs`; soon
 * where it is new to this process, or a comparison has failed; at once when a node is back that was away.
 *
 * A machine that takes `now` and random fractions; whoever runs it does the comparing.
 */

export interface ExchangePair {
  readonly partition: number;
  /** Q. */
  readonly partitions: number;
  readonly peer: string;
}

export interface PairState extends ExchangePair {
  /** When this process came to know of it. */
  readonly since: number;
  dueAt: number;
  /** When they were last compared to the end; undefined: never. */
  comparedAt: number | undefined;
  /** Since when they are known to differ; undefined: they are not. */
  differsSince: number | undefined;
  /** For people: why the last comparison did not come to its end; undefined: it did. */
  failure: string | undefined;
}

export interface ExchangeQueue {
  /** The pairs there are now; those that stay, or are parts of one that was there, keep what is known of them. */
  setPairs(pairs: readonly ExchangePair[], now: number): void;
  /** All pairs with this node are due. */
  back(peer: string, now: number): void;
  /** Somebody else knows that this pair differs; it is due. */
  marked(pair: ExchangePair, now: number): void;
  /** The one that is due for longest, of those whose peer can be asked. */
  next(now: number, askable: (peer: string) => boolean): PairState | undefined;
  differs(pair: PairState, now: number): void;
  /** Compared to the end. */
  compared(pair: PairState, now: number): void;
  /** It ended early. `why`: for people. */
  failed(pair: PairState, why: string, now: number): void;
  /** Those that are known to differ, the one for longest first. */
  lagging(): readonly PairState[];
  readonly pairs: Iterable<PairState>;
  readonly size: number;
}

/** What this process has never compared is compared early: nobody else may know what this node has missed. */
const firstMs = 30_000;
/** What failed is tried again about this much later. */
const againMs = 5_000;
/** A node that is back opens its streams and gets its hints first. */
const settleMs = 1_000;

export function createExchangeQueue(everyMs: number, fraction: () => number): ExchangeQueue {
  let states = new Map<string, PairState>();
  const nameOf = ({ partition, partitions, peer }: ExchangePair) => `${partition}/${partitions} ${peer}`;

  /** As it was, or what it was a part of before partitions doubled. */
  function stateOf(pair: ExchangePair): PairState | undefined {
    let { partition, partitions } = pair;
    for (; partitions >= 1; partition >>= 1, partitions /= 2) {
      const known = states.get(nameOf({ partition, partitions, peer: pair.peer }));
      if (known !== undefined) return partitions === pair.partitions ? known : { ...known, ...pair };
    }
    return undefined;
  }

  return {
    setPairs(pairs, now) {
      states = new Map(
        pairs.map((pair) => {
          const dueAt = now + fraction() * Math.min(everyMs, firstMs);
          const never = { comparedAt: undefined, differsSince: undefined, failure: undefined };
          return [nameOf(pair), stateOf(pair) ?? { ...pair, since: now, dueAt, ...never }];
        }),
      );
    },
    back(peer, now) {
      for (const state of states.values()) {
        if (state.peer === peer) state.dueAt = Math.min(state.dueAt, now + settleMs * (1 + fraction()));
      }
    },
    marked(pair, now) {
      const state = states.get(nameOf(pair));
      if (state === undefined) return;
      state.dueAt = Math.min(state.dueAt, now);
      state.differsSince ??= now;
    },
    next(now, askable) {
      let first: PairState | undefined;
      for (const state of states.values()) {
        if (state.dueAt > now || (first !== undefined && first.dueAt <= state.dueAt) || !askable(state.peer)) continue;
        first = state;
      }
      return first;
    },
    differs(pair, now) {
      pair.differsSince ??= now;
    },
    compared(pair, now) {
      pair.comparedAt = now;
      pair.differsSince = undefined;
      pair.failure = undefined;
      pair.dueAt = now + (0.5 + fraction()) * everyMs;
    },
    failed(pair, why, now) {
      pair.failure = why;
      pair.dueAt = now + (0.5 + fraction()) * Math.min(againMs, everyMs);
    },
    lagging() {
      const since = ({ differsSince = Number.POSITIVE_INFINITY }: PairState) => differsSince;
      return [...states.values()].filter((pair) => pair.differsSince !== undefined).sort((a, b) => since(a) - since(b));
    },
    get pairs() {
      return states.values();
    },
    get size() {
      return states.size;
    },
  };
}
