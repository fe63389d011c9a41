import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ask, GossipRefused, respond, take } from '../../services/core/membership/exchange.ts';
import { createMembership, type Membership } from '../../services/core/membership/membership.ts';
import {
  differenceOf,
  encodeSettings,
  SETTINGS_MAX,
  type Settings,
  settingsOf,
} from '../../services/core/membership/settings.ts';
import { xxh64 } from '../../services/platform/hash.ts';

const NOBODY = { clusterId: 'c1', members: [], ring: undefined, namespaces: [] };
const settings = settingsOf(xxh64);

function processWith(changes: Readonly<Record<string, string>>): Membership {
  return createMembership(NOBODY, undefined, new Map([...settings, ...Object.entries(changes)]));
}

// Whoever changes one of these on purpose parts with all clusters that there are: raise the version of the wire as well.
test('what this build does is what every build of this version of the wire does', () => {
  assert.deepEqual(Object.fromEntries(settings), {
    'hash of a key': '7f2cf2ab2ba5432a',
    'partition of a key': '508',
    'preference list': '3 2 1 0',
    'digest of a record': 'a99ec7e9356a1499',
    'levels of a digest tree': '20',
    'bytes of the largest record': '16777216',
  });
});

test('a build that hashes otherwise is told by it', () => {
  const other = settingsOf((bytes, seed = 0n) => xxh64(bytes, seed + 1n));
  assert.match(
    differenceOf(encodeSettings(other), settings) ?? '',
    /^hash of a key: "[0-9a-f]{16}" there, "[0-9a-f]{16}" here$/,
  );
});

test('a name that only one of two processes knows is no difference', () => {
  const newer: Settings = new Map([...settings, ['the order of bytes', 'little']]);
  assert.equal(differenceOf(encodeSettings(newer), settings), undefined);
  assert.equal(differenceOf(encodeSettings(settings), newer), undefined);
  assert.equal(differenceOf([], settings), undefined);
});

test('settings from a stranger are looked at as far as there may be some, and cut in what is said of them', () => {
  const [name] = settings.keys();
  const many = Array.from({ length: SETTINGS_MAX }, (_, i) => ({ name: `${i}`, value: '' }));
  assert.equal(differenceOf([...many, { name: String(name), value: 'x' }], settings), undefined);
  const long = differenceOf([{ name: String(name), value: 'x'.repeat(1_000_000) }], settings) ?? '';
  assert.ok(long.length < 300, long);
});

test('processes with other settings refuse each other in gossip, with both values, and nothing is taken over', () => {
  const one = processWith({ 'levels of a digest tree': '8' });
  const other = processWith({});
  const isRefusal = (said: string) => (error: unknown) =>
    error instanceof GossipRefused && error.code === 'FAILED_PRECONDITION' && error.message === said;
  assert.throws(
    () => respond(other, ask(one), 0),
    isRefusal('other settings: levels of a digest tree: "8" there, "20" here'),
  );
  // A build that does not look at them answers.
  const [, answer] = respond(one, ask(one), 0);
  assert.throws(
    () => take(other, answer, 0),
    isRefusal('other settings: levels of a digest tree: "8" there, "20" here'),
  );
});
