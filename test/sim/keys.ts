/** The keys of a seed. The name of a key tells what is done with it, and which namespace it is in. */
import { storageKey } from '../../services/core/ring/storage-key.ts';
import { xxh64 } from '../../services/platform/hash.ts';
import type { Profile } from './profile.ts';

/** Where the last writer wins. */
export const latestNamespace = 'latest';

const named = (count: number, kind: string) => Array.from({ length: count }, (_, i) => `${kind}-${i}`);

export const cartsOf = ({ carts }: Profile) => named(carts, 'cart');
export const registersOf = ({ registers }: Profile) => named(registers, 'register');
export const latestOf = ({ latest }: Profile) => named(latest, 'latest');
export const keysOf = (profile: Profile) => [...cartsOf(profile), ...registersOf(profile), ...latestOf(profile)];

export const isCart = (key: string) => key.startsWith('cart-');
export const lastWriterWins = (key: string) => key.startsWith('latest-');
export const namespaceOf = (key: string) => (lastWriterWins(key) ? latestNamespace : 'default');
export const storageKeyOf = (key: string) => storageKey(namespaceOf(key), Buffer.from(key), xxh64);
