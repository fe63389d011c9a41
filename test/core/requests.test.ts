/** Every row of the table of bad input of the data API that is decided by validation. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { DeleteRequest, GetRequest, PutRequest } from '../../proto/gen/cartwheel/kv/v1/kv.ts';
import { createContextCodec } from '../../services/core/codec/context.ts';
import { Failure, type ReasonName } from '../../services/core/failure.ts';
import { builtInNamespace, findNamespace, type Namespace } from '../../services/core/namespaces/namespace.ts';
import { requestLimits } from '../../services/core/requests/limits.ts';
import {
  locate,
  type Validation,
  validateDelete,
  validateGet,
  validatePut,
} from '../../services/core/requests/validate.ts';
import { parseStorageKey } from '../../services/core/ring/storage-key.ts';
import { xxh64 } from '../../services/platform/hash.ts';

const replicas = 3;
const contexts = createContextCodec(xxh64);
const carts: Namespace = {
  ...builtInNamespace,
  name: 'carts',
  version: 3,
  r: 1,
  w: 3,
  durability: 'BUFFERED',
  ttlMs: 5_000,
  strict: true,
  readAllProbability: 0.5,
};
const namespaces = new Map([['carts', carts]]);
const namespace = (name: string) => findNamespace(namespaces, name);
const validation: Validation = { limits: requestLimits, contexts, hash: xxh64, namespace };
const nothing = Buffer.alloc(0);

const get: GetRequest = { namespace: '', key: Buffer.from('k'), sessionContext: nothing, maxBytes: 0, dots: [] };
const put: PutRequest = {
  namespace: '',
  key: Buffer.from('k'),
  value: Buffer.from('v'),
  context: nothing,
  durability: 0,
  requestId: nothing,
  attempt: 0,
  ttl: undefined,
  require: undefined,
};
const known = [{ actor: 3n, upTo: 2, detached: [], height: 0 }];
const contextOf = (key: string, inNamespace = '') => {
  return Buffer.from(contexts.encode(known, locate(inNamespace, Buffer.from(key), validation).keyHash));
};
const remove: DeleteRequest = {
  namespace: '',
  key: Buffer.from('k'),
  context: contextOf('k'),
  durability: 0,
  requestId: nothing,
  attempt: 0,
};

const flipped = Buffer.from(contextOf('k'));
flipped[3] = (flipped[3] as number) ^ 1;
const newer = Buffer.from(contextOf('k'));
newer[0] = 2;

interface Row {
  readonly what: string;
  readonly reason: ReasonName;
  readonly field: string;
  /** What was seen, and what is wanted. */
  readonly numbers?: readonly (string | number)[];
  run(): unknown;
}

const asGet = (changes: Partial<GetRequest>) => () => validateGet({ ...get, ...changes }, replicas, validation);
const asPut = (changes: Partial<PutRequest>) => () => validatePut({ ...put, ...changes }, replicas, validation);
const asDelete = (changes: Partial<DeleteRequest>) => () =>
  validateDelete({ ...remove, ...changes }, replicas, validation);

/** Of every kind of request: a key and a namespace are checked alike. */
function everywhere(row: Omit<Row, 'run'>, changes: Partial<Pick<GetRequest, 'key' | 'namespace'>>): Row[] {
  return [
    { ...row, what: `get with ${row.what}`, run: asGet(changes) },
    { ...row, what: `put with ${row.what}`, run: asPut(changes) },
    { ...row, what: `delete with ${row.what}`, run: asDelete(changes) },
  ];
}

const rows: readonly Row[] = [
  ...everywhere({ what: 'an empty key', reason: 'KEY_EMPTY', field: 'key', numbers: [1] }, { key: nothing }),
  ...everywhere(
    { what: 'a key of 4,097 bytes', reason: 'KEY_TOO_LARGE', field: 'key', numbers: [4_097, 4_096] },
    { key: Buffer.alloc(4_097) },
  ),
  ...['Upper', '-first', 'a b', 'é', 'x'.repeat(64), 'nul\0'].flatMap((namespace) =>
    everywhere(
      {
        what: `the namespace ${JSON.stringify(namespace)}`,
        reason: 'NAMESPACE_INVALID',
        field: 'namespace',
        numbers: [1, 63],
      },
      { namespace },
    ),
  ),
  ...everywhere(
    { what: 'a namespace that is not there', reason: 'NAMESPACE_UNKNOWN', field: 'namespace' },
    { namespace: 'cart' },
  ),
  {
    what: 'a value of a byte more than 1 MiB',
    reason: 'VALUE_TOO_LARGE',
    field: 'value',
    numbers: [1_048_577, 1_048_576],
    run: asPut({ value: Buffer.alloc(1_048_577) }),
  },
  // A negative number arrives as a very large one.
  ...[0, 4, 4_294_967_295].flatMap((n): Row[] => [
    { what: `r = ${n}`, reason: 'QUORUM_INVALID', field: 'r', numbers: [n, 3], run: asGet({ r: n }) },
    { what: `put with w = ${n}`, reason: 'QUORUM_INVALID', field: 'w', numbers: [n, 3], run: asPut({ w: n }) },
    { what: `delete with w = ${n}`, reason: 'QUORUM_INVALID', field: 'w', numbers: [n, 3], run: asDelete({ w: n }) },
  ]),
  ...[
    { what: 'that is not ours', bytes: Buffer.from('whatever this may be') },
    { what: 'that is truncated', bytes: contextOf('k').subarray(0, -1) },
    { what: 'with one bit flipped', bytes: flipped },
    { what: 'of another key', bytes: contextOf('other') },
    { what: 'of a newer version', bytes: newer, numbers: [2, 1] },
    { what: 'of 16 KiB and a byte', bytes: Buffer.alloc(16_385, 1), numbers: [16_385, 16_384] },
  ].flatMap(({ what, bytes, numbers }): Row[] => {
    const row = { reason: 'CONTEXT_INVALID', ...(numbers && { numbers }) } as const;
    return [
      { ...row, what: `put with a context ${what}`, field: 'context', run: asPut({ context: bytes }) },
      { ...row, what: `delete with a context ${what}`, field: 'context', run: asDelete({ context: bytes }) },
      {
        ...row,
        what: `get with a session context ${what}`,
        field: 'session_context',
        run: asGet({ sessionContext: bytes }),
      },
    ];
  }),
  {
    what: 'delete without a context',
    reason: 'CONTEXT_REQUIRED',
    field: 'context',
    run: asDelete({ context: nothing }),
  },
  ...[4, 4_294_967_295].map((durability): Row => {
    // As a newer client would send it.
    const unknown = { durability: durability as PutRequest['durability'] };
    return {
      what: `durability ${durability}`,
      reason: 'DURABILITY_INVALID',
      field: 'durability',
      numbers: [durability, 3],
      run: asPut(unknown),
    };
  }),
  ...[asPut, asDelete].map((as): Row => {
    const requestId = Buffer.alloc(33);
    return {
      what: `a request id of 33 bytes (${as.name})`,
      reason: 'REQUEST_ID_TOO_LONG',
      field: 'request_id',
      numbers: [33, 32],
      run: as({ requestId }),
    };
  }),
  ...[
    { seconds: 0n, nanos: 0 },
    { seconds: -1n, nanos: 0 },
    { seconds: 0n, nanos: -1 },
    { seconds: 1n, nanos: -1 },
    { seconds: 1n, nanos: 1_000_000_000 },
    { seconds: 10n * 366n * 86_400n + 1n, nanos: 0 },
  ].map((ttl): Row => {
    return {
      what: `a ttl of ${ttl.seconds} s and ${ttl.nanos} ns`,
      reason: 'TTL_INVALID',
      field: 'ttl',
      numbers: [`${ttl.seconds} s`, `${ttl.nanos} ns`, 10],
      run: asPut({ ttl }),
    };
  }),
  ...(['durable', 'hosts', 'zones'] as const).map((kind): Row => {
    const require = { durable: 0, hosts: 0, zones: 0, [kind]: 4 };
    const what = `a placement of 4 ${kind}`;
    return { what, reason: 'PLACEMENT_IMPOSSIBLE', field: `require.${kind}`, run: asPut({ require }) };
  }),
  ...['', 'x', '000000000000000a:0', `${'f'.repeat(16)}:281474976710657`, 'y'.repeat(10_000)].map((dot): Row => {
    return {
      what: `the dot ${dot.slice(0, 40)}`,
      reason: 'CONTEXT_INVALID',
      field: 'dots',
      numbers: [16],
      run: asGet({ dots: [dot] }),
    };
  }),
];

for (const { what, reason, field, numbers, run } of rows) {
  test(`${reason}: ${what} is refused, with field and numbers`, () => {
    assert.throws(run, (error: unknown) => {
      assert.ok(error instanceof Failure, `${error}`);
      assert.equal(error.reason, reason);
      assert.equal(error.details.field, field);
      assert.equal(error.outcome, 'NOT_APPLIED');
      for (const number of numbers ?? [])
        assert.ok(error.message.includes(`${number}`), `${number} in: ${error.message}`);
      assert.ok(error.message.length < 300, 'a message repeats no megabytes of input');
      return true;
    });
  });
}

test('requests at their limits are taken', () => {
  const key = Buffer.alloc(4_096, 0xff);
  assert.equal(asGet({ key })().storageKey.length, 8 + 'default'.length + 1 + 4_096);
  assert.equal(asPut({ value: Buffer.alloc(1_048_576) })().value.length, 1_048_576);
  assert.equal(asPut({ requestId: Buffer.alloc(32) })().requestId.length, 32);
  for (const n of [1, 2, 3]) {
    assert.equal(asGet({ r: n })().r, n);
    assert.equal(asPut({ w: n })().w, n);
  }
  assert.deepEqual(
    ([0, 1, 2, 3] as const).map((durability) => asPut({ durability })().durability),
    ['DURABLE', 'DURABLE', 'ONE_DURABLE', 'BUFFERED'],
  );
  assert.equal(asDelete({ durability: 3 })().durability, 'BUFFERED');
  assert.equal(asPut({ require: { durable: 0, hosts: 0, zones: 0 } })().w, 2);
});

test('what is not said has its default: a majority, 3 MiB of values, no context, all siblings', () => {
  const valid = asGet({})();
  assert.equal(valid.r, 2);
  assert.equal(valid.bytesMax, 3 * 1024 * 1024);
  assert.deepEqual(valid.session, []);
  assert.equal(valid.dots, undefined);
  assert.equal(validateGet(get, 5, validation).r, 3);
  assert.equal(validateGet(get, 1, validation).r, 1);
  assert.deepEqual(asPut({})().context, []);
});

test('what a request does not say its namespace does', () => {
  const read = asGet({ namespace: 'carts' })();
  assert.deepEqual([read.r, read.readAllProbability], [1, 0.5]);
  for (const write of [
    asPut({ namespace: 'carts' })(),
    asDelete({ namespace: 'carts', context: contextOf('k', 'carts') })(),
  ]) {
    assert.deepEqual([write.w, write.strict, write.durability], [3, true, 'BUFFERED']);
  }
  assert.equal(asGet({ namespace: 'carts', r: 2 })().r, 2);
  assert.equal(asPut({ namespace: 'carts', durability: 2 })().durability, 'ONE_DURABLE');
  assert.equal(validatePut({ ...put, namespace: 'carts' }, 2, validation).w, 2, 'never more than there are');
  const plain = asPut({})();
  assert.deepEqual([plain.w, plain.strict, asGet({})().readAllProbability], [2, false, 0]);
});

test('a ttl is taken in whole milliseconds, upwards; without one the namespace says', () => {
  const ttlOf = (seconds: bigint, nanos: number) => asPut({ ttl: { seconds, nanos } })().ttlMs;
  assert.deepEqual([ttlOf(60n, 0), ttlOf(0n, 1), ttlOf(1n, 1_000_001)], [60_000, 1, 1_002]);
  assert.equal(ttlOf(10n * 366n * 86_400n, 0), 316_224_000_000);
  assert.equal(asPut({})().ttlMs, 0);
  assert.equal(asPut({ namespace: 'carts' })().ttlMs, 5_000);
  assert.equal(asPut({ namespace: 'carts', ttl: { seconds: 1n, nanos: 0 } })().ttlMs, 1_000);
});

test('a context belongs to its namespace too', () => {
  assert.throws(asDelete({ namespace: 'carts', context: contextOf('k') }), { reason: 'CONTEXT_INVALID' });
});

test('a context of the key is read, for puts, deletes and sessions alike', () => {
  const context = contextOf('k');
  assert.deepEqual(asPut({ context })().context, known);
  assert.deepEqual(asDelete({ context })().context, known);
  const valid = asGet({ sessionContext: context })();
  assert.deepEqual(valid.session, known);
});

test('keys that are no UTF-8, hold 0x00 or differ only in Unicode form are themselves, byte for byte', () => {
  const keys = [
    Buffer.from([0]),
    Buffer.from([0, 0]),
    Buffer.from([0xff, 0]),
    Buffer.from('\u00e9'),
    Buffer.from('e\u0301'),
  ];
  const seen = new Set(
    keys.map((key) => {
      const { storageKey } = locate('default', key, validation);
      assert.deepEqual(Buffer.from(parseStorageKey(storageKey).key), key);
      return Buffer.from(storageKey).toString('hex');
    }),
  );
  assert.equal(seen.size, keys.length);
});

test('the default namespace is the same by name and by silence', () => {
  assert.deepEqual(locate('', get.key, validation), locate('default', get.key, validation));
});
