/**
 * A name service for tests: names end in ".test", and lead where the test says. It stands where Node.js asks the machine's, so
 * gRPC resolves, dials and resolves again as it does everywhere. On Linux all of 127.0.0.0/8 can be listened on.
 */
import { promises as dns } from 'node:dns';
import { createServer, type Server } from 'node:net';
import type { TestContext } from 'node:test';

export interface NameService {
  /** From now on `name` leads to this address of the machine; undefined: to none. */
  set(name: string, address: string | undefined): void;
  /** From now on names lead where this says at each question. */
  follow(addressOf: (name: string) => string | undefined): void;
  /** So often somebody has asked for it. */
  asked(name: string): number;
}

export function startNameService(t: Pick<TestContext, 'mock'>): NameService {
  const addresses = new Map<string, string | undefined>();
  let addressOf = (name: string) => addresses.get(name);
  const questions = new Map<string, number>();
  const lookup = dns.lookup as (name: string, options: object) => Promise<unknown>;
  t.mock.method(dns, 'lookup', async (name: string, options: object) => {
    if (!name.endsWith('.test')) return lookup(name, options);
    questions.set(name, (questions.get(name) ?? 0) + 1);
    const address = addressOf(name);
    if (address === undefined) throw Object.assign(new Error(`getaddrinfo ENOTFOUND ${name}`), { code: 'ENOTFOUND' });
    return [{ address, family: 4 }];
  });
  return {
    set: (name, address) => addresses.set(name, address),
    follow(other) {
      addressOf = other;
    },
    asked: (name) => questions.get(name) ?? 0,
  };
}

/** Takes connections and never says a word: to who dials, the same as a machine that is gone. Resolves with a function that ends it. */
export async function startMute(host: string, port: number): Promise<() => Promise<void>> {
  const sockets = new Set<{ destroy(): void }>();
  const server: Server = createServer((socket) => sockets.add(socket.on('error', () => {})));
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(port, host, resolve));
  return () => {
    for (const socket of sockets) socket.destroy();
    return new Promise((resolve) => server.close(() => resolve()));
  };
}
