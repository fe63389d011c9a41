/**
 * The connections of one endpoint, in one life of it: who is up as far as this end has seen, and calls over
 * them. What Peers (peers.ts) and the session pool (pool.ts) are made of.
 *
 * I1 Every call of a living endpoint settles: with the answer, or with the loss of the connection or of the
 *    message. No call of a dead one does.
 * I2 A connection is down soon after its other end went down, and `pingMs` after it was blocked in either
 *    direction; it comes up again after a while once nothing is in its way.
 */
import type { Channel, Network } from './network.ts';
import type { SeededRandom } from './random.ts';
import type { Scheduler } from './scheduler.ts';

const noticeMsMax = 2;
const pingMs = { min: 30, max: 400 };
const reconnectMs = { min: 5, max: 150 };
/** A lost message of a connection that lives on: how long until its sender gives it up. */
const giveUpMs = { min: 5, max: 500 };

/** `sent`: it may have arrived. */
export class ConnectionLost extends Error {
  readonly sent: boolean;

  constructor(message: string, sent: boolean) {
    super(message);
    this.name = 'ConnectionLost';
    this.sent = sent;
  }
}

export interface Wire {
  up(to: string): boolean;
  /** Rejects with ConnectionLost. */
  call(to: string, channel: Channel, message: Uint8Array, duplicable?: boolean): Promise<Uint8Array>;
  /** Calls `listener` when a connection has come up, and when it has gone down. */
  onChange(listener: (to: string, up: boolean) => void): void;
  /** The process is stopping: what is under way fails. */
  close(): void;
}

export interface WireOptions {
  readonly from: string;
  readonly others: readonly string[];
  readonly network: Network;
  readonly scheduler: Scheduler;
  readonly random: SeededRandom;
  alive(): boolean;
  /** Whether a handshake with who has the address of `to` succeeds. Where it is not given, names lead where they should. */
  readonly accepts?: (to: string) => boolean;
}

interface Connection {
  readonly to: string;
  /** Who had the name when it was made: what is sent on it reaches nobody else. */
  at: string;
  up: boolean;
  readonly underWay: Set<(why: string) => void>;
}

export function createWire({ from, others, network, scheduler, random, alive, accepts }: WireOptions): Wire {
  const connections = new Map(
    others.map((to): [string, Connection] => [to, { to, at: to, up: false, underWay: new Set() }]),
  );
  const listeners: ((to: string, up: boolean) => void)[] = [];
  let closed = false;

  const reached = (to: string) => (accepts === undefined ? to : network.at(to));
  const passable = (to: string) =>
    network.listening(reached(to)) &&
    !network.blocked(from, to) &&
    !network.blocked(to, from) &&
    (accepts === undefined || accepts(to));
  const within = ({ min, max }: { min: number; max: number }, run: () => void) => {
    scheduler.after(random.between(min, max), () => {
      if (alive() && !closed) run();
    });
  };

  function set(connection: Connection, up: boolean): void {
    if (connection.up === up) return;
    connection.up = up;
    for (const listener of listeners) listener(connection.to, up);
  }

  function lose(connection: Connection, why: string): void {
    set(connection, false);
    for (const fail of [...connection.underWay]) fail(why);
    connection.underWay.clear();
  }

  function reconnect(connection: Connection): void {
    within(reconnectMs, () => {
      if (!passable(connection.to)) return;
      if (!connection.up) connection.at = reached(connection.to);
      set(connection, true);
    });
  }

  const unwatch = network.onChange(({ what, endpoints }) => {
    if (!alive()) {
      unwatch();
      return;
    }
    for (const connection of connections.values()) {
      const { to } = connection;
      const concerned =
        endpoints.length === 1
          ? endpoints[0] === to || endpoints[0] === reached(to)
          : endpoints.includes(to) && endpoints.includes(from);
      if (!concerned || closed) continue;
      if (what === 'up' || what === 'unblocked') reconnect(connection);
      else if (what === 'blocked') {
        within(pingMs, () => {
          if (passable(to)) return;
          lose(connection, 'no ping came back');
        });
      } else {
        within({ min: 0, max: noticeMsMax }, () => {
          lose(connection, 'the connection was reset');
          reconnect(connection);
        });
      }
    }
  });

  for (const connection of connections.values()) reconnect(connection);

  return {
    up: (to) => connections.get(to)?.up ?? false,
    onChange: (listener) => listeners.push(listener),

    call(to, channel, message, duplicable = false) {
      if (!alive()) return new Promise(() => {});
      const connection = connections.get(to);
      if (connection === undefined || !connection.up || closed) {
        return Promise.reject(new ConnectionLost(`${from} has no connection to ${to}`, false));
      }
      return new Promise((resolve, reject) => {
        const { at } = connection;
        const fail = (why: string) => {
          if (alive()) reject(new ConnectionLost(`${from} to ${to}: ${why}`, true));
        };
        connection.underWay.add(fail);
        const settle = () => connection.underWay.delete(fail);
        const lost = () =>
          within(giveUpMs, () => {
            if (settle()) fail('no answer came');
          });
        network.carry(from, to, message, {
          duplicable,
          lost,
          arrived(request) {
            // Nobody there: the connection is lost, and with it this call.
            const serve = network.serve(at);
            void serve?.(channel, request).then((answer) => {
              if (network.serve(at) !== serve) return;
              network.carry(to, from, answer, {
                duplicable: false,
                lost,
                arrived(bytes) {
                  if (settle() && alive()) resolve(bytes);
                },
              });
            });
          },
        });
      });
    },

    close() {
      closed = true;
      unwatch();
      for (const connection of connections.values()) lose(connection, 'it was closed here');
    },
  };
}
