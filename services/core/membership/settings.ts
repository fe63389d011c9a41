/**
 * What all processes of a cluster must do in the same way, as values that two of them compare when they meet: in gossip
 * (exchange.ts), so that none that differs ever joins, and between storage nodes (platform/streams/handshake.ts).
 *
 * They are worked out, not declared: each is what this build makes of a sample. So a build, or a library under it, that
 * hashes otherwise is told from the others even where nobody has noticed the change, before it has stored anything.
 *
 * Not here: N and Q, which belong to the ring, as does all that a claim was made by; the version of the wire, which is
 * raised by hand; how long anything takes, and how much a process keeps. Nothing that is safe rests on an interval: what is
 * let go is let go by the word of every member (core/stability/barrier.ts), so a node that collects every hour and one that
 * never does may be in one cluster.
 */
import type { Setting } from '../../../proto/gen/cartwheel/membership/v1/membership.ts';
import { treeDepth } from '../merkle/digest-tree.ts';
import { recordDigest } from '../merkle/record-digest.ts';
import type { Hash64 } from '../ports.ts';
import { requestLimits } from '../requests/limits.ts';
import { partitionOfStorageKey } from '../ring/partition.ts';
import { preferenceList } from '../ring/preference-list.ts';
import { createRing } from '../ring/ring.ts';
import { hashOfStorageKey, storageKey } from '../ring/storage-key.ts';
import { emptyContext } from '../versioning/causal-context.ts';

/** By name. */
export type Settings = ReadonlyMap<string, string>;

/** More in a message are not looked at. */
export const SETTINGS_MAX = 64;
/** Of a name or value from elsewhere that comes into a message for people. */
const CHARACTERS_MAX = 100;

export function settingsOf(hash: Hash64): Settings {
  const key = storageKey('default', Buffer.from('cartwheel'), hash);
  const sibling = {
    dot: { actor: 3n, counter: 5 },
    requestId: noBytes,
    writtenAtMs: 0,
    expiresAtMs: 7,
    value: noBytes,
  };
  const digest = recordDigest(key, { clock: emptyContext, siblings: [sibling] }, hash);
  return new Map([
    ['hash of a key', hex(hashOfStorageKey(key))],
    ['partition of a key', String(partitionOfStorageKey(key, 1_024))],
    ['preference list', preferenceList(sampleRing(), 1).join(' ')],
    ['digest of a record', hex(digest)],
    ['levels of a digest tree', String(treeDepth)],
    ['bytes of the largest record', String(requestLimits.recordBytesMax)],
  ]);
}

export function encodeSettings(settings: Settings): Setting[] {
  return [...settings].map(([name, value]) => ({ name, value }));
}

/** What the other process does otherwise, for people, with both values; undefined where nothing is known to differ. */
export function differenceOf(theirs: readonly Setting[], ours: Settings): string | undefined {
  for (const { name, value } of theirs.slice(0, SETTINGS_MAX)) {
    const own = ours.get(name);
    if (own === undefined || own === value) continue;
    return `${name}: ${JSON.stringify(value.slice(0, CHARACTERS_MAX))} there, ${JSON.stringify(own)} here`;
  }
  return undefined;
}

const noBytes = new Uint8Array(0);

/** Of two zones with two nodes each; the owners are written down, so that nothing depends on how a claim is made. */
function sampleRing() {
  const nodes = [0, 1, 2, 3].map((index) => {
    return {
      index,
      id: `${index}`,
      address: `${index}:1`,
      host: `${index}`,
      zone: `${index % 2}`,
      status: 'UP' as const,
    };
  });
  const owners = Uint16Array.of(0, 1, 3, 2, 1, 0, 2, 3);
  return createRing({
    version: { term: 1n, sequence: 1n },
    partitions: 4,
    replicas: 2,
    nodes,
    owners,
    pending: new Map(),
  });
}

function hex(n: bigint): string {
  return n.toString(16).padStart(16, '0');
}
