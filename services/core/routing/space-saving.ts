/**
 * The keys asked for most, from a stream of all, in the memory of a few: the space-saving sketch (Metwally, Agrawal,
 * El Abbadi 2005, "Efficient computation of frequent and top-k elements in data streams").
 *
 * `capacity` counters, in a heap with the least on top. A key that has none takes the least one over, with its count,
 * which may be that much too high from then on.
 *
 * I1 The counts sum up to the total.
 * I2 count - error ≤ how often the key came ≤ count.
 * I3 A key that came more often than total / capacity has a counter.
 * (All of it of what `halve` has left.)
 */

export interface HeavyHitter {
  readonly key: string;
  /** As reads and as writes, since it has had this counter; what is missing of `count` is `error`. */
  readonly reads: number;
  readonly writes: number;
  readonly count: number;
  readonly error: number;
}

export interface SpaceSaving {
  add(key: string, isRead: boolean): void;
  /** The most frequent first. */
  top(limit: number): readonly HeavyHitter[];
  readonly total: number;
  /** Everything weighs half from now on: what is old is forgotten by and by. */
  halve(): void;
}

interface Counter {
  key: string;
  reads: number;
  writes: number;
  error: number;
  /** In the heap. */
  at: number;
}

export function createSpaceSaving(capacity: number): SpaceSaving {
  const heap: Counter[] = [];
  const byKey = new Map<string, Counter>();
  let total = 0;

  const countOf = ({ reads, writes, error }: Counter) => reads + writes + error;

  function put(counter: Counter, at: number): void {
    heap[at] = counter;
    counter.at = at;
  }

  /** After its count has grown. */
  function sink(counter: Counter): void {
    const count = countOf(counter);
    let { at } = counter;
    for (;;) {
      const left = 2 * at + 1;
      const right = left + 1;
      let least = left;
      if (right < heap.length && countOf(heap[right] as Counter) < countOf(heap[left] as Counter)) least = right;
      const below = heap[least];
      if (below === undefined || countOf(below) >= count) break;
      put(below, at);
      at = least;
    }
    put(counter, at);
  }

  /** After it was added at the end. */
  function rise(counter: Counter): void {
    const count = countOf(counter);
    let { at } = counter;
    while (at > 0) {
      const above = heap[(at - 1) >> 1] as Counter;
      if (countOf(above) <= count) break;
      put(above, at);
      at = (at - 1) >> 1;
    }
    put(counter, at);
  }

  function takeOver(key: string): Counter {
    const least = heap[0] as Counter;
    byKey.delete(least.key);
    least.error = countOf(least);
    least.key = key;
    least.reads = 0;
    least.writes = 0;
    byKey.set(key, least);
    return least;
  }

  function begin(key: string): Counter {
    const counter = { key, reads: 0, writes: 0, error: 0, at: heap.length };
    heap.push(counter);
    byKey.set(key, counter);
    rise(counter);
    return counter;
  }

  return {
    add(key, isRead) {
      total++;
      const counter = byKey.get(key) ?? (heap.length < capacity ? begin(key) : takeOver(key));
      if (isRead) counter.reads++;
      else counter.writes++;
      sink(counter);
    },
    top(limit) {
      const sorted = heap.slice().sort((a, b) => countOf(b) - countOf(a));
      return sorted.slice(0, limit).map((counter) => {
        const { key, reads, writes, error } = counter;
        return { key, reads, writes, error, count: countOf(counter) };
      });
    },
    get total() {
      return total;
    },
    halve() {
      // Not rounded: what has the same count still has, and the heap stays one.
      for (const counter of heap) {
        counter.reads /= 2;
        counter.writes /= 2;
        counter.error /= 2;
      }
      total /= 2;
    },
  };
}
