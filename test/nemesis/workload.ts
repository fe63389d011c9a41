/**
 * What the clients do, many operations at once: they add to carts (read, merge, write), write blindly, write and
 * delete with the contexts they got, now and then with an old one, try again where they do not know what became of
 * a write, and read what was written long ago.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { itemsOf } from '../oracle/ledger.ts';
import type { SeededRandom } from '../sim/random.ts';
import type { ObservedClient, Token } from './client.ts';
import type { KeyInUse, Keys } from './keys.ts';

export interface WorkerOptions {
  readonly name: string;
  readonly client: ObservedClient;
  readonly keys: Keys;
  /** N. */
  readonly replicas: number;
  readonly random: SeededRandom;
  /** Between two operations of one worker, on average. */
  readonly thinkMs: number;
  readonly over: AbortSignal;
}

/** While all fails nobody is served by trying as fast as can be. */
const afterFailureMs = 100;

export async function runWorker({ name, client, keys, replicas, random, thinkMs, over }: WorkerOptions): Promise<void> {
  const quorum = () => (random.chance(0.7) ? undefined : 1 + random.below(replicas));
  const timeoutMs = () => Math.ceil(random.between(500, 3_000));
  const writing = () => ({
    w: quorum(),
    timeoutMs: timeoutMs(),
    retries: random.chance(0.5) ? 1 + random.below(2) : 0,
  });

  /** Mostly the last one; two writes from one context are two siblings. */
  function token({ tokens }: KeyInUse): Token | undefined {
    return tokens.length === 0 ? undefined : random.chance(0.75) ? tokens[0] : random.pick(tokens);
  }

  async function addToCart(key: KeyInUse, item: string): Promise<boolean> {
    const read = await client.get(key.name, { r: quorum(), timeoutMs: timeoutMs() });
    if (read === undefined) return false;
    const items = [...new Set([...read.values.flatMap((value) => itemsOf(value)), item])].sort();
    return (await client.put(key.name, { ...writing(), token: read.token, item, items })) !== undefined;
  }

  async function useRegister(key: KeyInUse): Promise<boolean> {
    const dice = random.fraction();
    const known = token(key);
    let next: Token | undefined;
    if (dice < 0.15) {
      next = await client.put(key.name, writing());
    } else if (dice < 0.5) {
      next = await client.put(key.name, { ...writing(), token: known });
    } else if (dice < 0.88 || known === undefined || known.bytes.length === 0) {
      const read = await client.get(key.name, { r: quorum(), timeoutMs: timeoutMs() });
      if (read !== undefined) next = await client.put(key.name, { ...writing(), token: read.token });
    } else {
      next = await client.delete(key.name, { ...writing(), token: known });
    }
    keys.remember(key, next);
    return next !== undefined;
  }

  async function oneOperation(turn: number): Promise<boolean> {
    if (keys.retired.length > 0 && random.chance(0.1)) {
      const key = random.pick(keys.retired);
      return (await client.get(key, { r: quorum(), timeoutMs: timeoutMs() })) !== undefined;
    }
    const key = keys.pick();
    try {
      return key.isCart ? await addToCart(key, `${name}-${turn}`) : await useRegister(key);
    } finally {
      keys.giveBack(key);
    }
  }

  for (let turn = 0; !over.aborted; turn++) {
    const succeeded = await oneOperation(turn);
    await sleep(random.around(succeeded ? thinkMs : thinkMs + afterFailureMs));
  }
}
