/**
 * The keys that are written, named as in test/sim/keys.ts: in one of six the last writer wins. Each is in use for a
 * while, shared by all clients, and then read only, so that a long run has thousands of keys, none with a long history,
 * and clocks that are not cut (record.ts).
 *
 * I1 A key is folded once: when it has had its writes and no operation on it is under way.
 */
import type { SeededRandom } from '../sim/random.ts';
import type { Token } from './client.ts';

export interface KeyInUse {
  readonly name: string;
  readonly isCart: boolean;
  /** The newest first; what clients got for it lately. */
  readonly tokens: Token[];
  writes: number;
  underWay: number;
}

export interface Keys {
  /** Some are picked much more often than others. The caller gives it back. */
  pick(): KeyInUse;
  giveBack(key: KeyInUse): void;
  remember(key: KeyInUse, token: Token | undefined): void;
  /** Keys that nobody writes any more. */
  readonly retired: readonly string[];
  /** All there have ever been. */
  all(): readonly string[];
}

export interface KeysOptions {
  readonly random: SeededRandom;
  readonly inUse: number;
  onRetired(key: string): void;
}

/** Fewer than the detached dots that a context may have (record.ts). */
const writesMax = 48;
const tokensMax = 3;

export function createKeys({ random, inUse, onRetired }: KeysOptions): Keys {
  let made = 0;
  const retired: string[] = [];
  const current = Array.from({ length: inUse }, create);

  function create(): KeyInUse {
    const number = made++;
    const isCart = number % 3 === 0;
    const kind = isCart ? 'cart' : number % 6 === 1 ? 'latest' : 'register';
    return { name: `${kind}-${number}`, isCart, tokens: [], writes: 0, underWay: 0 };
  }

  return {
    retired,
    pick() {
      const place = Math.floor(inUse * random.fraction() ** 2);
      const key = current[place] as KeyInUse;
      key.underWay++;
      if (++key.writes >= writesMax) current[place] = create();
      return key;
    },
    giveBack(key) {
      if (--key.underWay > 0 || key.writes < writesMax) return;
      key.tokens.length = 0;
      retired.push(key.name);
      onRetired(key.name); // I1
    },
    remember(key, token) {
      if (token === undefined) return;
      key.tokens.unshift(token);
      key.tokens.length = Math.min(key.tokens.length, tokensMax);
    },
    all: () => [...retired, ...current.map(({ name }) => name)],
  };
}
