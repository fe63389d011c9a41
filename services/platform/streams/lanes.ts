/**
 * How many operations run at a time, by the memory they take: what they carry, and what they are expected to
 * answer. Those for which there is no room wait, in their order.
 *
 *     client A ─► lane A  ┐
 *     client B ─► lane B  ├─► run
 *     client C ─► lane C  ┘
 *
 * Without it one client that asks for 2,000 values of 1 MiB at once makes every node of the cluster hold gigabytes,
 * and the streams between them fail their pings (measured: no answers to anybody for a minute).
 *
 * Owns who may start. Knows nothing of what the operations are.
 *
 * I1 The operations of one lane that run cost `laneBytes` at most, those of all lanes `totalBytes`; but one may always
 *    run, whatever it costs. At most `runningMax` of one lane run at a time.
 * I2 Within a lane operations start in the order they came. Where all lanes together have no room, they take turns.
 * I3 What a read will answer is not known before. It is taken to be as much as the largest answer of its lane lately;
 *    a new lane begins carefully.
 */
export interface LanesOptions {
  readonly laneBytes: number;
  readonly totalBytes: number;
  readonly runningMax: number;
}

export interface Lanes {
  open(): Lane;
  /** What all that run cost. */
  readonly bytes: number;
}

export interface Lane {
  /** Calls `run` now or when there is room, with the cost to give back to `leave`. */
  enter(carriedBytes: number, isRead: boolean, run: (cost: number) => void): void;
  /** Starts nothing until `release`: nobody takes the answers. */
  hold(): void;
  release(): void;
  /** A read answered this many bytes; undefined for what is no read, or failed. */
  leave(cost: number, answeredBytes: number | undefined): void;
  /** Those that wait carry so many bytes. */
  readonly waitingBytes: number;
  /** What waits is dropped. What runs still has to leave. */
  close(): void;
}

/** What a read of a new lane is taken to answer: 64 of them fill a lane of 16 MiB. */
export const expectedBytesFirst = 256 * 1024;
/** One answer more, and the largest one weighs so much less. */
const forgetting = 1 / 64;

interface Waiting {
  readonly carriedBytes: number;
  readonly isRead: boolean;
  readonly run: (cost: number) => void;
}

interface LaneState {
  /** First in, first out; those before `first` have started. */
  queue: Waiting[];
  first: number;
  waitingBytes: number;
  running: number;
  runningBytes: number;
  expectedBytes: number;
  isHeld: boolean;
}

export function createLanes({ laneBytes, totalBytes, runningMax }: LanesOptions): Lanes {
  /** Those that wait for room among all lanes, not in their own. */
  const refused = new Set<LaneState>();
  let bytes = 0;
  let running = 0;

  function costOf(lane: LaneState, carriedBytes: number, isRead: boolean): number {
    return isRead ? carriedBytes + lane.expectedBytes : carriedBytes;
  }

  function hasRoom(lane: LaneState, cost: number): boolean {
    if (lane.isHeld || lane.running >= runningMax) return false;
    if (lane.running > 0 && lane.runningBytes + cost > laneBytes) return false;
    if (running === 0 || bytes + cost <= totalBytes) return true;
    refused.add(lane);
    return false;
  }

  function start(lane: LaneState, cost: number, run: (cost: number) => void): void {
    lane.running++;
    lane.runningBytes += cost;
    running++;
    bytes += cost;
    run(cost);
  }

  /** False where none could be started. */
  function startNext(lane: LaneState): boolean {
    const next = lane.queue[lane.first];
    if (next === undefined) return false;
    const cost = costOf(lane, next.carriedBytes, next.isRead);
    if (!hasRoom(lane, cost)) return false;
    lane.first++;
    lane.waitingBytes -= next.carriedBytes;
    if (lane.first === lane.queue.length) {
      lane.queue = [];
      lane.first = 0;
    } else if (lane.first >= 1_024) {
      lane.queue = lane.queue.slice(lane.first);
      lane.first = 0;
    }
    start(lane, cost, next.run);
    return true;
  }

  function startRefused(): void {
    for (const lane of [...refused]) {
      refused.delete(lane);
      // Goes to the end of the row, when it has more.
      if (startNext(lane)) {
        if (lane.first < lane.queue.length) refused.add(lane);
      } else if (refused.has(lane)) return;
    }
  }

  function open(): Lane {
    const lane: LaneState = {
      queue: [],
      first: 0,
      waitingBytes: 0,
      running: 0,
      runningBytes: 0,
      expectedBytes: expectedBytesFirst,
      isHeld: false,
    };
    return {
      enter(carriedBytes, isRead, run) {
        const cost = costOf(lane, carriedBytes, isRead);
        if (lane.queue.length === 0 && hasRoom(lane, cost)) start(lane, cost, run);
        else {
          lane.queue.push({ carriedBytes, isRead, run });
          lane.waitingBytes += carriedBytes;
        }
      },
      hold() {
        lane.isHeld = true;
      },
      release() {
        lane.isHeld = false;
        while (startNext(lane)) {}
      },
      leave(cost, answeredBytes) {
        lane.running--;
        lane.runningBytes -= cost;
        running--;
        bytes -= cost;
        if (answeredBytes !== undefined) {
          const { expectedBytes } = lane;
          lane.expectedBytes =
            answeredBytes > expectedBytes
              ? answeredBytes
              : expectedBytes - Math.ceil((expectedBytes - answeredBytes) * forgetting);
        }
        if (refused.size > 0) startRefused();
        while (startNext(lane)) {}
      },
      get waitingBytes() {
        return lane.waitingBytes;
      },
      close() {
        lane.queue = [];
        lane.first = 0;
        lane.waitingBytes = 0;
        refused.delete(lane);
      },
    };
  }

  return {
    open,
    get bytes() {
      return bytes;
    },
  };
}
