/**
 * A namespace: how its keys are kept, as one value that is replaced as a whole.
 *
 * Owns the value, which of two is the newer one, and the one that is built in. Knows nothing of the wire
 * (codec.ts), nor of what an operator may ask for (settings.ts).
 *
 * I1 `mergeNamespaces` is commutative, associative and idempotent: values may come in any order, any number of
 *    times. Two of one version, made by operators who did not know of each other, are ordered by their content, so
 *    that one of them wins everywhere.
 * I2 There are at most `namespacesMax`, and none is ever removed.
 */

/** See Durability in kv.proto. */
export type DurabilityName = 'DURABLE' | 'ONE_DURABLE' | 'BUFFERED';

/** See Resolution in membership.proto. */
export type ResolutionName = 'SIBLINGS' | 'LAST_WRITER_WINS';

export interface Namespace {
  readonly name: string;
  /** Raised by each change; 0 only of the one that is built in. */
  readonly version: number;
  /** Of requests that name none; 0: a majority of N. */
  readonly r: number;
  readonly w: number;
  readonly durability: DurabilityName;
  readonly resolution: ResolutionName;
  /** Of puts that name none; 0: values stay. */
  readonly ttlMs: number;
  /** Only the homes of a key take its writes: no fallbacks. */
  readonly strict: boolean;
  /** Of a get asking all N replicas instead of R. */
  readonly readAllProbability: number;
  /** How long values that lost can be listed (LAST_WRITER_WINS). */
  readonly losersKeptMs: number;
}

/** By name. What is built in is in it only once somebody has altered it. */
export type Namespaces = ReadonlyMap<string, Namespace>;

export const defaultNamespace = 'default';

export const builtInNamespace: Namespace = Object.freeze({
  name: defaultNamespace,
  version: 0,
  r: 0,
  w: 0,
  durability: 'DURABLE',
  resolution: 'SIBLINGS',
  ttlMs: 0,
  strict: false,
  readAllProbability: 0,
  losersKeptMs: 24 * 3_600_000,
});

/** Gossip tells of all of them in one message: 1,000 are about 100 KiB. */
export const namespacesMax = 1_000;

/** As kv.proto says. */
export const namespaceName = /^[a-z0-9][a-z0-9._-]{0,62}$/;

export function findNamespace(namespaces: Namespaces, name: string): Namespace | undefined {
  return namespaces.get(name) ?? (name === defaultNamespace ? builtInNamespace : undefined);
}

/** All there are, by name, what is built in among them. */
export function listNamespaces(namespaces: Namespaces): readonly Namespace[] {
  const all = namespaces.has(defaultNamespace)
    ? namespaces
    : new Map([...namespaces, [defaultNamespace, builtInNamespace]]);
  return [...all.values()].toSorted((a, b) => (a.name < b.name ? -1 : 1));
}

/** What of a namespace tells which of two is the newer one. */
export interface NamespaceClaim {
  readonly version: number;
  readonly contentHash: bigint;
}

export function claimOf(namespace: Namespace): NamespaceClaim {
  return { version: namespace.version, contentHash: contentHash(namespace) };
}

/** Negative where `b` is newer, positive where `a` is. */
export function compareClaims(a: NamespaceClaim, b: NamespaceClaim): number {
  if (a.version !== b.version) return a.version - b.version;
  if (a.contentHash === b.contentHash) return 0;
  return a.contentHash < b.contentHash ? -1 : 1;
}

/** The newer one of two of one name. */
export function mergeNamespaces(a: Namespace, b: Namespace): Namespace {
  return compareClaims(claimOf(a), claimOf(b)) >= 0 ? a : b;
}

/** Equal but for their versions. */
export function sameSettings(a: Namespace, b: Namespace): boolean {
  return contentOf(a) === contentOf(b);
}

function contentOf({ name, version: _, ...settings }: Namespace): string {
  const { r, w, durability, resolution, ttlMs, strict, readAllProbability, losersKeptMs } = settings;
  return [name, r, w, durability, resolution, ttlMs, strict, readAllProbability, losersKeptMs].join(' ');
}

/** 64 bits, the same on every machine: two lanes of FNV-1a (Fowler, Noll, Vo) that begin differently. */
function contentHash(namespace: Namespace): bigint {
  const text = contentOf(namespace);
  let high = 0x811c9dc5;
  let low = 0x9747b28c;
  for (let i = 0; i < text.length; i++) {
    high = Math.imul(high ^ text.charCodeAt(i), 0x01000193);
    low = Math.imul(low ^ text.charCodeAt(i), 0x01000193);
  }
  return (BigInt(high >>> 0) << 32n) | BigInt(low >>> 0);
}
