/**
 * The network between the processes: one TCP proxy before each storage node. Nodes advertise the address of their
 * proxy, so that other nodes, the router and clients all come through it.
 *
 *     dialler ──► proxy ──► node        bytes of either direction obey the conditions of its own ordered pair
 *
 * Conditions are of ordered pairs (who, to whom), so that a cut may be between two processes, and one way only.
 *
 * I1 Bytes are delivered in order or not at all: TCP knows no gap. Bytes that the network loses are held, as
 *    TCP holds what is not acknowledged; when the pair is well again they come late, or the connection has died.
 * I2 Each direction of a connection holds at most about `heldBytesMax`; then the sender feels it.
 * I3 Without conditions nothing is delayed.
 */
import { createServer, type Server, Socket } from 'node:net';

const host = '127.0.0.1';
const heldBytesMax = 4 * 1024 * 1024;

/** A name of a process. */
export type Place = string;

export interface Network {
  /** A proxy at `port` for the process of that name. */
  serve(name: Place, port: number, target: string): Promise<void>;
  /** Bytes from one to the other are held until the function returned is called. */
  hold(from: Place, to: Place): () => void;
  /** They come so much later. */
  delay(from: Place, to: Place, ms: number): () => void;
  /** New connections between the two, whoever dials, are refused, and those that are there reset. */
  refuse(a: Place, b: Place): () => void;
  /** Resets connections between the two; new ones are welcome. Returns how many there were. */
  reset(a: Place, b: Place): number;
  readonly connections: number;
  close(): Promise<void>;
}

export interface NetworkOptions {
  /** Who dials from this address. */
  placeOf(address: string | undefined): Place;
}

interface Conditions {
  holds: number;
  delays: number[];
  refusals: number;
}

interface Connection {
  readonly dialler: Place;
  readonly server: Place;
  conditionsChanged(): void;
  reset(): void;
}

export function createNetwork({ placeOf }: NetworkOptions): Network {
  const servers: Server[] = [];
  const connections = new Set<Connection>();
  const conditions = new Map<string, Conditions>();

  function conditionsOf(from: Place, to: Place): Conditions {
    const pair = `${from} ${to}`;
    let known = conditions.get(pair);
    if (known === undefined) {
      known = { holds: 0, delays: [], refusals: 0 };
      conditions.set(pair, known);
    }
    return known;
  }

  function between(a: Place, b: Place): Connection[] {
    return [...connections].filter(
      ({ dialler, server }) => (dialler === a && server === b) || (dialler === b && server === a),
    );
  }

  function accept(from: Socket, server: Place, target: string): void {
    const dialler = placeOf(from.remoteAddress);
    if (conditionsOf(dialler, server).refusals > 0) {
      from.resetAndDestroy();
      return;
    }
    const [targetHost = host, targetPort = '0'] = target.split(':');
    const to = new Socket();
    to.connect(Number(targetPort), targetHost);
    const there = pump(from, to, conditionsOf(dialler, server));
    const back = pump(to, from, conditionsOf(server, dialler));
    const connection: Connection = {
      dialler,
      server,
      conditionsChanged() {
        there.conditionsChanged();
        back.conditionsChanged();
      },
      reset() {
        from.resetAndDestroy();
        to.resetAndDestroy();
      },
    };
    connections.add(connection);
    for (const socket of [from, to]) {
      socket.setNoDelay(true);
      socket.on('close', () => {
        if (from.destroyed && to.destroyed) connections.delete(connection);
      });
    }
  }

  function change(from: Place, to: Place, apply: (conditions: Conditions) => void): void {
    apply(conditionsOf(from, to));
    for (const connection of between(from, to)) connection.conditionsChanged();
  }

  const network: Network = {
    async serve(name, port, target) {
      const server = createServer({ noDelay: true }, (socket) => accept(socket, name, target));
      servers.push(server);
      await new Promise<void>((resolve, reject) => {
        server.once('error', reject);
        server.listen(port, host, resolve);
      });
    },
    hold(from, to) {
      change(from, to, (pair) => pair.holds++);
      return () => change(from, to, (pair) => pair.holds--);
    },
    delay(from, to, ms) {
      change(from, to, (pair) => pair.delays.push(ms));
      return () => change(from, to, (pair) => pair.delays.splice(pair.delays.indexOf(ms), 1));
    },
    refuse(a, b) {
      const ways = [conditionsOf(a, b), conditionsOf(b, a)];
      for (const way of ways) way.refusals++;
      network.reset(a, b);
      return () => {
        for (const way of ways) way.refusals--;
      };
    },
    reset(a, b) {
      const struck = between(a, b);
      for (const connection of struck) connection.reset();
      return struck.length;
    },
    get connections() {
      return connections.size;
    },
    async close() {
      for (const connection of connections) connection.reset();
      await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
    },
  };
  return network;
}

/** One direction of one connection. Its end too comes through only when the pair is well. */
function pump(from: Socket, to: Socket, conditions: Conditions): { conditionsChanged(): void } {
  const held: { readonly chunk: Buffer; readonly at: number }[] = [];
  let heldBytes = 0;
  let over: 'ended' | 'closed' | 'reset' | undefined;
  let timer: NodeJS.Timeout | undefined;

  const delayMs = () => conditions.delays.reduce((sum, ms) => sum + ms, 0);

  function flush(): void {
    clearTimeout(timer);
    timer = undefined;
    if (conditions.holds > 0 || to.destroyed) return;
    while (held[0] !== undefined) {
      const waitMs = held[0].at - performance.now();
      if (waitMs > 0) {
        timer = setTimeout(flush, waitMs);
        return;
      }
      if (to.writableNeedDrain) return; // and go on at 'drain'
      const { chunk } = held.shift() as { chunk: Buffer };
      heldBytes -= chunk.length;
      to.write(chunk);
    }
    if (over === 'reset') to.resetAndDestroy();
    else if (over === 'closed') to.destroySoon();
    else if (over === 'ended') to.end();
    else from.resume();
  }

  from.on('data', (chunk: Buffer) => {
    held.push({ chunk, at: performance.now() + delayMs() });
    heldBytes += chunk.length;
    if (heldBytes > heldBytesMax) from.pause(); // I2
    if (timer === undefined) flush();
  });
  from.on('end', () => {
    over = 'ended';
    flush();
  });
  from.on('error', () => {
    over = 'reset';
  });
  from.on('close', () => {
    if (over !== 'reset') over = 'closed';
    flush();
  });
  to.on('drain', flush);
  return { conditionsChanged: flush };
}
