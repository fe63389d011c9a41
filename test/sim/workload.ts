/** What one client does, operation after operation. */
import { type Client, emptyToken, type Token, withItem } from './client.ts';
import { isCart, keysOf, lastWriterWins } from './keys.ts';
import type { Profile } from './profile.ts';
import type { SeededRandom } from './random.ts';
import type { Scheduler } from './scheduler.ts';

export interface WorkloadOptions {
  readonly client: Client;
  readonly profile: Profile;
  readonly scheduler: Scheduler;
  readonly random: SeededRandom;
  readonly nodes: readonly string[];
  preferenceOf(key: string): readonly string[];
}

/** Tokens of a key that a client remembers. */
const tokensMax = 3;

export async function runWorkload({
  client,
  profile,
  scheduler,
  random,
  nodes,
  preferenceOf,
}: WorkloadOptions): Promise<void> {
  const keys = keysOf(profile);
  const tokens = new Map<string, Token[]>();

  function remember(key: string, token: Token | undefined): void {
    if (token === undefined) return;
    tokens.set(key, [token, ...(tokens.get(key) ?? [])].slice(0, tokensMax));
  }

  /** Mostly the last one; two writes from one context are two siblings. */
  function token(key: string): Token | undefined {
    const known = tokens.get(key) ?? [];
    return known.length === 0 ? undefined : random.chance(0.75) ? known[0] : random.pick(known);
  }

  /** Mostly as the client does, in preference order; or as through some router or node that is no home. */
  function via(key: string): readonly string[] {
    const preference = preferenceOf(key);
    if (random.chance(0.5)) return preference;
    return random.chance(0.7) ? random.shuffled(preference.slice(0, profile.replicas)) : random.shuffled(nodes);
  }

  const quorum = () => (random.chance(0.5) ? undefined : 1 + random.below(profile.replicas));
  const timeoutMs = () => Math.ceil(random.between(100, 1_200));
  const retries = () => (random.chance(0.6) ? 1 + random.below(3) : 0);

  async function addToCart(key: string, item: string): Promise<void> {
    const read = await client.get(key, {
      r: quorum(),
      via: via(key),
      timeoutMs: timeoutMs(),
      session: tokens.get(key)?.[0],
    });
    // Where the session is not covered a merge of what was read would lose what the session had seen.
    if (read === undefined || !read.coversSession) return;
    const items = withItem(read.values, item);
    remember(key, await client.put(key, { ...writing(key), token: read.token, item, items }));
  }

  const durability = () => (random.chance(profile.otherDurability) ? random.pick([1, 2, 3] as const) : (0 as const));
  const writing = (key: string) => {
    return { w: quorum(), via: via(key), timeoutMs: timeoutMs(), retries: retries(), durability: durability() };
  };

  const ttlMs = () => (random.chance(profile.expiring) ? Math.ceil(random.between(200, 3_000)) : 0);

  const deletes = random.fork('deletes');

  async function deleteAll(key: string): Promise<void> {
    const read = await client.get(key, { via: via(key), timeoutMs: timeoutMs() });
    if (read === undefined || read.token.bytes.length === 0) return;
    remember(key, await client.delete(key, { ...writing(key), token: read.token }));
  }

  async function useRegister(key: string): Promise<void> {
    if (profile.deleting > 0 && deletes.chance(profile.deleting)) return deleteAll(key);
    const dice = random.fraction();
    const known = token(key);
    if (dice < 0.3) {
      const session = random.chance(0.4) ? known : undefined;
      remember(key, (await client.get(key, { r: quorum(), via: via(key), timeoutMs: timeoutMs(), session }))?.token);
    } else if (dice < 0.45) {
      remember(key, await client.put(key, { ...writing(key), ttlMs: ttlMs() }));
    } else if (dice < 0.75) {
      remember(key, await client.put(key, { ...writing(key), token: known, ttlMs: ttlMs() }));
    } else if (dice < 0.88) {
      const read = await client.get(key, { via: via(key), timeoutMs: timeoutMs() });
      if (read !== undefined) remember(key, await client.put(key, { ...writing(key), token: read.token }));
    } else if (known !== undefined && known.bytes.length > 0) {
      remember(key, await client.delete(key, { ...writing(key), token: known }));
    }
  }

  /** As people write where the last writer wins: mostly without having read. */
  async function overwrite(key: string): Promise<void> {
    const dice = random.fraction();
    const known = token(key);
    if (dice < 0.3) {
      const session = random.chance(0.4) ? known : undefined;
      remember(key, (await client.get(key, { r: quorum(), via: via(key), timeoutMs: timeoutMs(), session }))?.token);
    } else if (dice < 0.85) {
      const seen = random.chance(0.3) ? known : undefined;
      remember(key, await client.put(key, { ...writing(key), token: seen, ttlMs: ttlMs() }));
    } else {
      const seen = random.chance(0.3) ? known : undefined;
      remember(key, await client.delete(key, { ...writing(key), token: seen ?? emptyToken }));
    }
  }

  for (let i = 0; i < profile.operationsPerClient; i++) {
    await scheduler.sleep(random.around(profile.thinkMs));
    const key = random.pick(keys);
    if (isCart(key)) await addToCart(key, `${client.name}-${i}`);
    else if (lastWriterWins(key)) await overwrite(key);
    else await useRegister(key);
  }
}

/** What a client does that only reads: as many do at once what others do. */
export async function runReader({ client, profile, scheduler, random, preferenceOf }: WorkloadOptions): Promise<void> {
  const keys = keysOf(profile);
  for (let i = 0; i < profile.operationsPerClient; i++) {
    await scheduler.sleep(random.around(profile.thinkMs));
    const key = random.pick(keys);
    await client.get(key, { via: preferenceOf(key), timeoutMs: Math.ceil(random.between(100, 1_200)) });
  }
}
