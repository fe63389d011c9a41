/**
 * Bytes written down once and for all: data on disks, contexts in clients' hands and page tokens of today must be
 * readable tomorrow. Where one of these changes, the format has changed, and its version byte must.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createContextCodec } from '../../services/core/codec/context.ts';
import { decodePageToken, encodePageToken } from '../../services/core/codec/page-token.ts';
import { createRecordCodec } from '../../services/core/codec/record.ts';
import { hashOfStorageKey, parseStorageKey, storageKey } from '../../services/core/ring/storage-key.ts';
import type { CausalContext } from '../../services/core/versioning/causal-context.ts';
import type { KeyRecord } from '../../services/core/versioning/record.ts';
import { checksum32, xxh64 } from '../../services/platform/hash.ts';

const records = createRecordCodec(checksum32);
const contexts = createContextCodec(xxh64);

const clock: CausalContext = [
  { actor: 1n, upTo: 3, detached: [], height: 7 },
  { actor: 0x0123_4567_89ab_cdefn, upTo: 0, detached: [2, 300], height: 130 },
  { actor: 0xffff_ffff_ffff_ffffn, upTo: 2 ** 48, detached: [], height: 0 },
];

const cart: KeyRecord = {
  clock,
  siblings: [
    {
      dot: { actor: 1n, counter: 2 },
      requestId: Buffer.from('id-1'),
      writtenAtMs: 1_700_000_000_000,
      value: Buffer.from('apples'),
    },
    {
      dot: { actor: 0x0123_4567_89ab_cdefn, counter: 300 },
      requestId: Buffer.alloc(0),
      writtenAtMs: 0,
      value: Buffer.alloc(0),
    },
  ],
};

const session: KeyRecord = {
  clock,
  siblings: cart.siblings.map((sibling, i) => (i === 0 ? { ...sibling, expiresAtMs: 1_700_000_060_000 } : sibling)),
};

const keyHash = 0xfeed_beef_0000_0001n;

interface Vector {
  readonly name: string;
  readonly hex: string;
  encode(): Uint8Array;
  decode(bytes: Uint8Array): unknown;
  readonly value: unknown;
}

const vectors: readonly Vector[] = [
  {
    name: 'a record with two siblings, detached dots and heights',
    hex: '010300000000000000010307000123456789abcdef0082010202aa02ffffffffffffffff80808080808040000002000280d095ffbc310469642d31066170706c657301ac020000009e2ee7be',
    encode: () => records.encode(cart),
    decode: (bytes) => records.decode(bytes),
    value: cart,
  },
  {
    name: 'a record of which one sibling expires',
    hex: '020300000000000000010307000123456789abcdef0082010202aa02ffffffffffffffff80808080808040000002000280d095ffbc31e0a499ffbc310469642d31066170706c657301ac0200000000b1c89e58',
    encode: () => records.encode(session),
    decode: (bytes) => records.decode(bytes),
    value: session,
  },
  {
    name: 'a tombstone',
    hex: '010300000000000000010307000123456789abcdef0082010202aa02ffffffffffffffff80808080808040000000ff05cb0c',
    encode: () => records.encode({ clock, siblings: [] }),
    decode: (bytes) => records.decode(bytes),
    value: { clock, siblings: [] },
  },
  {
    name: 'a stored record with its birth',
    hex: '01000000000000000500000000000000017265636f7264',
    encode: () =>
      Buffer.concat([records.encodeNotes({ birth: { lineage: 5n, actor: 1n }, owed: [] }), Buffer.from('record')]),
    decode: records.decodeStored,
    value: { birth: { lineage: 5n, actor: 1n }, owed: [], bytes: Buffer.from('record') },
  },
  {
    name: 'a stored record with its birth, owed to two nodes',
    hex: '050000000000000005000000000000000102016e036e3132d9a6f8867265636f7264',
    encode: () =>
      Buffer.concat([
        records.encodeNotes({ birth: { lineage: 5n, actor: 1n }, owed: ['n', 'n12'] }),
        Buffer.from('record'),
      ]),
    decode: records.decodeStored,
    value: { birth: { lineage: 5n, actor: 1n }, owed: ['n', 'n12'], bytes: Buffer.from('record') },
  },
  {
    name: 'a stored record without a birth',
    hex: '007265636f7264',
    encode: () => Buffer.concat([records.encodeNotes({ birth: undefined, owed: [] }), Buffer.from('record')]),
    decode: records.decodeStored,
    value: { birth: undefined, owed: [], bytes: Buffer.from('record') },
  },
  {
    name: 'a context',
    hex: '0103000000000000000103000123456789abcdef000202aa02ffffffffffffffff8080808080804000f45f137a5965b88e',
    encode: () => contexts.encode(clock, keyHash),
    decode: (bytes) => contexts.decode(bytes, keyHash),
    value: clock.map((entry) => ({ ...entry, height: 0 })),
  },
  {
    name: 'a page token',
    hex: '710738462eb0e2f4bb64656661756c74006bc9ceed32391605cb',
    encode: () => encodePageToken(storageKey('default', Buffer.from('k'), xxh64), 77n, xxh64),
    decode: (bytes) => decodePageToken(bytes, 77n, xxh64),
    value: storageKey('default', Buffer.from('k'), xxh64),
  },
];

for (const { name, hex, encode, decode, value } of vectors) {
  test(`the bytes of ${name} have not changed`, () => {
    assert.equal(Buffer.from(encode()).toString('hex'), hex);
    assert.deepEqual(plain(decode(Buffer.from(hex, 'hex'))), plain(value));
  });
}

test('the empty context is no bytes', () => {
  assert.equal(contexts.encode([], keyHash).length, 0);
});

const storageKeys: readonly (readonly [name: string, key: Uint8Array, hex: string])[] = [
  ['plain text', Buffer.from('cart:42'), '0224527d280f974664656661756c7400636172743a3432'],
  ['one byte 0x00', Buffer.from([0]), 'afb1d32abab9804064656661756c740000'],
  ['0x00 in the middle and at the end', Buffer.from([97, 0, 98, 0]), '5618583cf13567c764656661756c740061006200'],
  ['no UTF-8', Buffer.from([0xff, 0xfe, 0x80]), '2df1cf039d344e5064656661756c7400fffe80'],
  ['é composed', Buffer.from('\u00e9'), '450de95e91217cc464656661756c7400c3a9'],
  ['é decomposed', Buffer.from('e\u0301'), 'd9957e3b6ea9bed764656661756c740065cc81'],
];

for (const [name, key, hex] of storageKeys) {
  test(`the storage key of ${name} has not changed, and gives the key back byte for byte`, () => {
    const stored = storageKey('default', key, xxh64);
    assert.equal(Buffer.from(stored).toString('hex'), hex);
    const parsed = parseStorageKey(stored);
    assert.equal(parsed.namespace, 'default');
    assert.deepEqual(Buffer.from(parsed.key), Buffer.from(key));
    assert.equal(hashOfStorageKey(stored), xxh64(stored.subarray(8)));
  });
}

/** Views and Buffers as numbers. */
function plain(value: unknown): unknown {
  return JSON.parse(
    JSON.stringify(value, (_name, part) => {
      if (typeof part === 'bigint') return `${part}n`;
      if (part?.type === 'Buffer') return part.data;
      return part instanceof Uint8Array ? [...part] : part;
    }),
  );
}
