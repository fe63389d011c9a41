/**
 * What a router has under way of each key: few operations at a time, so that one hot key fills no queue that other keys
 * wait in; and identical reads that come meanwhile share one (single-flight).
 *
 *     get k ──► under way, `readsMax` of a key        put k ──► under way, `writesMax` of a key
 *     get k ──► waits ◄── get k ◄── get k             put k ──► waits, in its order
 *                 └── share one, which goes out when one of those under way is answered
 *
 * I1 A read shares another only while that waits here. What has been sent may be answered from before a write that was
 *    acknowledged since, and whose client must see it.
 * I2 Reads that share ask for the same: key, r, session context, siblings, bytes.
 * I3 At most `waitingMax` wait for one key, those that share counted as one; more are OVERLOADED. What waits in all is
 *    bounded by what the sessions let run (platform/streams/lanes.ts).
 * I4 Each has its own deadline and cancel. A shared read is sent with the latest deadline of those that share it, and is
 *    cancelled when nobody is left.
 */
import type { GetRequest, Operation, Result } from '../../proto/gen/cartwheel/kv/v1/kv.ts';
import { Cancelled, Cancelling, type Until } from '../core/cancellation.ts';
import { createDeadlines } from '../core/deadlines.ts';
import { Failure } from '../core/failure.ts';
import type { Clock, Metrics } from '../core/ports.ts';

export interface KeyLimits {
  /** Under way of one key. */
  readonly readsMax: number;
  readonly writesMax: number;
  /** For one key, of either. */
  readonly waitingMax: number;
}

export const keyLimits: KeyLimits = {
  /** As many as go out at once before a frame waits for more (platform/streams/session-client.ts). */
  readsMax: 8,
  /** They change one record, one after the other, and gather in one batch of its node while another one is synced. */
  writesMax: 32,
  waitingMax: 1_024,
};
const retryAfterMs = 50;

export type Answer = Omit<Result, 'id'>;
export type Send = (key: string, operation: Operation, until: Until) => Promise<Answer>;

export interface KeyFlights {
  /** Sends it, or waits for its turn, or for another's answer. `key`: of all keys, with the namespace. */
  run(key: string, operation: Operation, until: Until): Promise<Answer>;
  close(): void;
}

interface Passenger {
  resolve(answer: Answer): void;
  reject(error: unknown): void;
}

/** One operation that waits, or waited, and who waits for its answer. */
interface Flight {
  readonly operation: Operation;
  readonly passengers: Set<Passenger>;
  readonly cancelling: Cancelling;
  deadline: number;
  isSent: boolean;
}

/** The reads, or the writes, of one key. */
interface Gate {
  readonly key: string;
  /** Where it is known by its key: `reads` or `writes`. */
  readonly among: Map<string, Gate>;
  readonly underWayMax: number;
  underWay: number;
  /** In their order, by what they ask for (I2); writes by themselves. Most keys never have one. */
  waiting: Map<unknown, Flight> | undefined;
}

export function createKeyFlights(
  clock: Clock,
  metrics: Metrics,
  send: Send,
  { readsMax, writesMax, waitingMax }: KeyLimits = keyLimits,
): KeyFlights {
  const deadlines = createDeadlines(clock);
  const reads = new Map<string, Gate>();
  const writes = new Map<string, Gate>();
  let waiting = 0;
  const shared = metrics.counter('cartwheel_shared_reads_total', 'Reads answered with what another one was answered');
  const refused = metrics.counter(
    'cartwheel_hot_key_refusals_total',
    'Operations refused because too many waited for their key',
  );
  metrics.gauge('cartwheel_waiting_for_key', 'Operations that wait for others of their key', () => waiting);

  function gateOf(key: string, isRead: boolean): Gate {
    const among = isRead ? reads : writes;
    let gate = among.get(key);
    if (gate === undefined) {
      gate = { key, among, underWayMax: isRead ? readsMax : writesMax, underWay: 0, waiting: undefined };
      among.set(key, gate);
    }
    return gate;
  }

  async function fly(gate: Gate, operation: Operation, until: Until): Promise<Answer> {
    gate.underWay++;
    try {
      return await send(gate.key, operation, until);
    } finally {
      gate.underWay--;
      sendNext(gate);
    }
  }

  function sendNext(gate: Gate): void {
    const next = gate.waiting?.entries().next().value;
    if (next === undefined) {
      if (gate.underWay === 0) gate.among.delete(gate.key);
      return;
    }
    const [what, flight] = next;
    gate.waiting?.delete(what);
    waiting--;
    flight.isSent = true;
    const { passengers } = flight;
    fly(gate, flight.operation, { deadline: flight.deadline, cancellation: flight.cancelling }).then(
      (answer) => {
        shared.add(Math.max(0, passengers.size - 1));
        for (const passenger of passengers) passenger.resolve(answer);
      },
      (error: unknown) => {
        for (const passenger of passengers) passenger.reject(error);
      },
    );
  }

  function wait(gate: Gate, what: unknown, operation: Operation, until: Until): Promise<Answer> {
    gate.waiting ??= new Map();
    const queue = gate.waiting;
    if (queue.size >= waitingMax) {
      refused.add(1);
      const message = `${queue.size} operations wait for this key here, the limit`;
      return Promise.reject(new Failure('OVERLOADED', message, { retryAfterMs }));
    }
    const cancelling = new Cancelling();
    const flight = { operation, passengers: new Set<Passenger>(), cancelling, deadline: until.deadline, isSent: false };
    queue.set(what, flight);
    waiting++;
    cancelling.onCancel(() => {
      if (flight.isSent) return;
      queue.delete(what);
      waiting--;
    });
    return board(flight, until);
  }

  function board(flight: Flight, { deadline, cancellation }: Until): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const leave = (failure: Failure) => {
        flight.passengers.delete(passenger);
        passenger.reject(failure);
        if (flight.passengers.size === 0) flight.cancelling.cancel();
      };
      const outcome = () => (flight.isSent ? 'UNKNOWN' : 'NOT_APPLIED');
      const alarm = deadlines.set(deadline, () => {
        // Whoever it was sent to knows this deadline, and says more about it.
        if (flight.isSent && deadline >= flight.deadline) return;
        leave(
          new Failure('DEADLINE', 'the deadline passed while others of this key were answered', { outcome: outcome() }),
        );
      });
      const forget = cancellation.onCancel(() => leave(new Cancelled(outcome())));
      const passenger: Passenger = {
        resolve(answer) {
          alarm.cancel();
          forget();
          resolve(answer);
        },
        reject(error) {
          alarm.cancel();
          forget();
          reject(error);
        },
      };
      flight.passengers.add(passenger);
      flight.deadline = Math.max(flight.deadline, deadline);
    });
  }

  return {
    run(key, operation, until) {
      if (until.cancellation.cancelled) return Promise.reject(new Cancelled('NOT_APPLIED'));
      const { get } = operation;
      const gate = gateOf(key, get !== undefined);
      if (gate.underWay < gate.underWayMax) return fly(gate, operation, until);
      if (get === undefined) return wait(gate, operation, operation, until);
      const what = whatOf(get);
      const waits = gate.waiting?.get(what);
      return waits === undefined ? wait(gate, what, operation, until) : board(waits, until);
    },
    close: () => deadlines.close(),
  };
}

/** I2. Quoted: dots are any text here, and whoever chose theirs well would share what others are answered. */
function whatOf({ r, maxBytes, sessionContext, dots }: GetRequest): string {
  const named = dots.length === 0 ? '' : JSON.stringify(dots);
  return `${r} ${maxBytes} ${named} ${sessionContext.toString('latin1')}`;
}
