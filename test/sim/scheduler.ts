/**
 * Virtual time: what is to happen, in order.
 *
 * Owns the order of everything in a simulation. Knows nothing of nodes, messages or disks.
 *
 * I1 Events happen in the order of their times; those of one time in the order in which they were asked for.
 * I2 Between two events everything that the first one set off has run: all promise reactions, to the last.
 *    (A turn of the real event loop: it begins only when there are none left.)
 * I3 Nothing here, or called from here, reads real time.
 */
import { setImmediate } from 'node:timers';

/** A simulation that needs more is one that does not end. */
const eventsMax = 2_000_000;

export interface Scheduler {
  /** Milliseconds since the simulation began. */
  now(): number;
  /** Calls `run` once, `ms` from now. Returns a function that cancels it. */
  after(ms: number, run: () => void): () => void;
  /** Resolves `ms` from now. */
  sleep(ms: number): Promise<void>;
  /** Lets things happen until `done` says so, or nothing is left to happen. Returns whether `done` said so. */
  run(done?: () => boolean): Promise<boolean>;
  readonly events: number;
}

interface Event {
  readonly time: number;
  readonly order: number;
  run: (() => void) | undefined;
}

export function createScheduler(): Scheduler {
  const heap: Event[] = [];
  let time = 0;
  let asked = 0;
  let events = 0;

  function after(ms: number, run: () => void): () => void {
    const event: Event = { time: time + Math.max(0, ms), order: asked++, run };
    push(heap, event);
    return () => {
      event.run = undefined;
    };
  }

  return {
    now: () => time,
    after,
    sleep: (ms) => new Promise((resolve) => after(ms, resolve)),
    async run(done = () => false) {
      while (!done()) {
        // What was begun before the first event may still have to ask for one.
        if (heap.length === 0) await turn();
        const event = pop(heap);
        if (event === undefined) return done();
        const { run } = event;
        if (run === undefined) continue;
        time = event.time;
        if (++events > eventsMax) throw new Error(`after ${eventsMax} events and ${time} ms it has not ended`);
        run();
        await turn();
      }
      return true;
    },
    get events() {
      return events;
    },
  };
}

function turn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}

function before(a: Event, b: Event): boolean {
  return a.time < b.time || (a.time === b.time && a.order < b.order);
}

function push(heap: Event[], event: Event): void {
  let at = heap.length;
  heap.push(event);
  while (at > 0) {
    const parent = (at - 1) >>> 1;
    if (!before(event, heap[parent] as Event)) break;
    heap[at] = heap[parent] as Event;
    at = parent;
  }
  heap[at] = event;
}

function pop(heap: Event[]): Event | undefined {
  const first = heap[0];
  const last = heap.pop();
  if (first === undefined || last === undefined || heap.length === 0) return first;
  let at = 0;
  for (;;) {
    let child = 2 * at + 1;
    if (child >= heap.length) break;
    if (child + 1 < heap.length && before(heap[child + 1] as Event, heap[child] as Event)) child++;
    if (!before(heap[child] as Event, last)) break;
    heap[at] = heap[child] as Event;
    at = child;
  }
  heap[at] = last;
  return first;
}
