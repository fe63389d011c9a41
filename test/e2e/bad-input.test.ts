/**
 * Every row of bad input that concerns the data API, against real processes: through unary calls and a Session,
 * at the router and at a storage node.
 */
import assert from 'node:assert/strict';
import { after, afterEach, before, test } from 'node:test';
import { BinaryWriter } from '@bufbuild/protobuf/wire';
import { credentials, Metadata, type ServiceError, status } from '@grpc/grpc-js';
import {
  Durability,
  type ExplainResponse,
  KeyValueServiceClient,
  ListKeysRequest,
  type ListKeysResponse,
} from '../../proto/gen/cartwheel/kv/v1/kv.ts';
import { Failure } from '../../services/core/failure.ts';
import { fromServiceError } from '../../services/platform/errors.ts';
import {
  type Answer,
  assertFailure,
  assertGet,
  assertPut,
  type Call,
  type Door,
  encode,
  openDoors,
  sessionDoor,
  unaryDoor,
  type Wanted,
} from './bad-input-doors.ts';
import { type Cluster, startCluster } from './cluster.ts';
import { until } from './support.ts';

const mib = 1024 * 1024;
const { INVALID_ARGUMENT, FAILED_PRECONDITION, NOT_FOUND } = status;

let cluster: Cluster;
let doors: readonly Door[];

before(async () => {
  cluster = await startCluster();
  doors = openDoors(cluster);
});

after(async () => {
  for (const door of doors ?? []) door.close();
  await cluster?.stop();
});

afterEach(() => {
  for (const each of cluster.processes) assert.doesNotMatch(each.log(), /a bug: the process ends|nobody expected/);
});

const bytes = (text: string): Buffer => Buffer.from(text);
/** A key that only this test and this door use. */
const keyOf = (what: string, door: Door): Buffer => bytes(`${what} through ${door.name}`);

async function valuesOf(door: Door, key: Buffer): Promise<string[]> {
  const { siblings } = assertGet(await door.call({ get: { key, r: 3 } }), 'a get of what was written');
  return siblings.map(({ value }) => value.toString('latin1')).sort();
}

/** Every door refuses each of these, and nothing is written under the key. */
async function eachIsRefused(calls: (key: Buffer) => readonly (readonly [Call, Wanted])[]): Promise<void> {
  for (const door of doors) {
    const key = keyOf('refused', door);
    for (const [call, wanted] of calls(key)) {
      assertFailure(await door.call(call), wanted, `${JSON.stringify(Object.keys(call))} ${door.name}`);
    }
    assert.deepEqual(await valuesOf(door, key), []);
  }
}

test('an empty key and one of more than 4,096 bytes are refused, one of 4,096 is a key', async () => {
  const empty: Wanted = { reason: 'KEY_EMPTY', code: INVALID_ARGUMENT, field: 'key' };
  const large: Wanted = { reason: 'KEY_TOO_LARGE', code: INVALID_ARGUMENT, field: 'key', message: /4097 .*4096/ };
  const key = Buffer.alloc(4_097, 'k');
  await eachIsRefused(() => [
    [{ get: {} }, empty],
    [{ put: { value: bytes('v') } }, empty],
    [{ delete: { context: bytes('c') } }, empty],
    [{ get: { key } }, large],
    [{ put: { key, value: bytes('v') } }, large],
    [{ delete: { key, context: bytes('c') } }, large],
  ]);
  for (const door of doors) {
    const longest = Buffer.concat([keyOf('longest', door), key]).subarray(0, 4_096);
    assertPut(await door.call({ put: { key: longest, value: bytes('v') } }), door.name);
    assert.deepEqual(await valuesOf(door, longest), ['v']);
  }
});

test('a value above 1 MiB is refused with both sizes, one of 1 MiB is a value', async () => {
  const value = Buffer.alloc(mib + 1, 0xa5);
  await eachIsRefused((key) => [
    [
      { put: { key, value } },
      { reason: 'VALUE_TOO_LARGE', code: INVALID_ARGUMENT, field: 'value', message: /1048577 .*1048576/ },
    ],
  ]);
  for (const door of doors) {
    const key = keyOf('largest value', door);
    assertPut(await door.call({ put: { key, value: value.subarray(1) } }), door.name);
    const { siblings } = assertGet(await door.call({ get: { key } }), door.name);
    assert.equal(Buffer.compare(siblings[0]?.value ?? bytes(''), value.subarray(1)), 0);
  }
});

test('a quorum of 0, of more than N and a negative one are refused', async () => {
  const refused = (field: string): Wanted => ({
    reason: 'QUORUM_INVALID',
    code: INVALID_ARGUMENT,
    field,
    message: /it can be 1 to 3/,
  });
  await eachIsRefused((key) =>
    [0, 4, 0xffff_ffff].flatMap((n): (readonly [Call, Wanted])[] => [
      [{ get: { key, r: n } }, refused('r')],
      [{ put: { key, value: bytes('v'), w: n } }, refused('w')],
    ]),
  );
  // -1 as protobuf encodes a negative number: ten bytes, which the generated client cannot be made to send.
  const minusOne = (field: number) => Buffer.from([field << 3, ...Array<number>(9).fill(0xff), 1]);
  for (const door of doors) {
    const key = keyOf('negative quorum', door);
    const get = Buffer.concat([encode('get', { get: { key } }), minusOne(3)]);
    assertFailure(await door.raw('get', get), refused('r'), door.name);
    const put = Buffer.concat([encode('put', { put: { key, value: bytes('v') } }), minusOne(5)]);
    assertFailure(await door.raw('put', put), refused('w'), door.name);
    assert.deepEqual(await valuesOf(door, key), []);
  }
});

test('a context that is changed in any way, or of another key, is refused in a put, a delete and a get', async () => {
  const refused = (field: string, message?: RegExp): Wanted => ({
    reason: 'CONTEXT_INVALID',
    code: INVALID_ARGUMENT,
    field,
    ...(message && { message }),
  });
  for (const door of doors) {
    const key = keyOf('contexts', door);
    assertPut(await door.call({ put: { key, value: bytes('first') } }), door.name);
    assertPut(await door.call({ put: { key, value: bytes('second') } }), door.name);
    const { context } = assertGet(await door.call({ get: { key, r: 3 } }), door.name);
    const other = keyOf('another key', door);
    assertPut(await door.call({ put: { key: other, value: bytes('other') } }), door.name);
    const { context: foreign } = assertGet(await door.call({ get: { key: other } }), door.name);
    const newer = Buffer.from(context);
    newer[0] = 2;

    const wrong: Buffer[] = [foreign, bytes('not a context at all, but long enough'), Buffer.alloc(20_000, 1)];
    for (let length = 1; length < context.length; length++) wrong.push(context.subarray(0, length));
    wrong.push(Buffer.concat([context, Buffer.alloc(1)]));
    for (let bit = 0; bit < context.length * 8; bit++) {
      const flipped = Buffer.from(context);
      flipped[bit >> 3] = (flipped[bit >> 3] as number) ^ (1 << (bit & 7));
      wrong.push(flipped);
    }
    await inGroups(wrong, 64, async (forged, i) => {
      const what = `wrong context ${i}, ${door.name}`;
      assertFailure(
        await door.call({ put: { key, value: bytes('forged'), context: forged } }),
        refused('context'),
        what,
      );
      assertFailure(await door.call({ delete: { key, context: forged } }), refused('context'), what);
      assertFailure(await door.call({ get: { key, sessionContext: forged } }), refused('session_context'), what);
    });
    const put = await door.call({ put: { key, value: bytes('forged'), context: newer } });
    assertFailure(put, refused('context', /version 2; this build reads 1/), door.name);
    assert.deepEqual(await valuesOf(door, key), ['first', 'second']);
  }
});

test('a delete without a context is refused', async () => {
  await eachIsRefused((key) => [
    [{ delete: { key } }, { reason: 'CONTEXT_REQUIRED', code: INVALID_ARGUMENT, field: 'context' }],
  ]);
});

test('a namespace that is none is refused, and one that nobody has created', async () => {
  const malformed: Wanted = { reason: 'NAMESPACE_INVALID', code: INVALID_ARGUMENT, field: 'namespace' };
  const unknown: Wanted = { reason: 'NAMESPACE_UNKNOWN', code: NOT_FOUND, field: 'namespace' };
  const calls = (key: Buffer, namespace: string): Call[] => [
    { get: { key, namespace } },
    { put: { key, namespace, value: bytes('v') } },
    { delete: { key, namespace, context: bytes('c') } },
  ];
  await eachIsRefused((key) => [
    ...['Carts', '-carts', '.', 'a/b', 'ä', 'a\0b', 'default ', 'n'.repeat(64), 'n'.repeat(100_000)].flatMap(
      (namespace) => calls(key, namespace).map((call): [Call, Wanted] => [call, malformed]),
    ),
    ...['carts', 'n'.repeat(63), '0._-'].flatMap((namespace) =>
      calls(key, namespace).map((call): [Call, Wanted] => [call, unknown]),
    ),
  ]);
  // Bytes that are no UTF-8, where protobuf wants text.
  const notText = new BinaryWriter()
    .uint32(10)
    .bytes(Buffer.from([0xff, 0xfe, 0x80]))
    .finish();
  for (const door of doors) {
    const key = keyOf('namespace', door);
    assertFailure(
      await door.raw('get', Buffer.concat([encode('get', { get: { key } }), notText])),
      malformed,
      door.name,
    );
  }
});

test('a durability that is none is refused, each that there is is taken', async () => {
  const none: Wanted = { reason: 'DURABILITY_INVALID', code: INVALID_ARGUMENT, field: 'durability' };
  const value = bytes('v');
  for (const door of doors) {
    const key = keyOf('durability', door);
    for (const number of [[4], [0x7f], [...Array<number>(9).fill(0xff), 1]]) {
      const put = Buffer.concat([encode('put', { put: { key, value } }), Buffer.from([6 << 3, ...number])]);
      assertFailure(await door.raw('put', put), none, door.name);
    }
    assert.deepEqual(await valuesOf(door, key), []);
    for (const durability of Object.values(Durability)) {
      const { context } = assertGet(await door.call({ get: { key } }), door.name);
      assertPut(await door.call({ put: { key, value, durability, context } }), door.name);
    }
  }
});

test('a request id of more than 32 bytes is refused, in a put and a delete', async () => {
  const requestId = Buffer.alloc(33, 1);
  const refused: Wanted = {
    reason: 'REQUEST_ID_TOO_LONG',
    code: INVALID_ARGUMENT,
    field: 'request_id',
    message: /33 .*32/,
  };
  await eachIsRefused((key) => [
    [{ put: { key, value: bytes('v'), requestId } }, refused],
    [{ delete: { key, context: bytes('c'), requestId } }, refused],
  ]);
});

test('a request id that comes again is the same write; with another value it is refused', async () => {
  for (const door of doors) {
    const key = keyOf('request id', door);
    const requestId = Buffer.alloc(32, 7);
    const first = assertPut(await door.call({ put: { key, value: bytes('v'), requestId, w: 3 } }), door.name);
    for (const again of doors) {
      const same = await again.call({ put: { key, value: bytes('v'), requestId, attempt: 1, w: 3 } });
      assert.equal(assertPut(same, again.name).receipt?.dot, first.receipt?.dot);
      const refused: Wanted = { reason: 'REQUEST_ID_REUSED', code: FAILED_PRECONDITION, field: 'request_id' };
      assertFailure(await again.call({ put: { key, value: bytes('another'), requestId } }), refused, again.name);
    }
    assert.deepEqual(await valuesOf(door, key), ['v']);
  }
});

test('a ttl that makes no sense is refused', async () => {
  const tenYears = 10n * 366n * 24n * 3600n;
  const wrong = [
    [0n, 0],
    [-1n, 0],
    [0n, -1],
    [1n, -1],
    [1n, 1_000_000_000],
    [tenYears + 1n, 0],
    [2n ** 63n - 1n, 0],
    [-(2n ** 63n), 0],
  ] as const;
  const invalid: Wanted = { reason: 'TTL_INVALID', code: INVALID_ARGUMENT, field: 'ttl', message: /10 years/ };
  await eachIsRefused((key) => [
    ...wrong.map(([seconds, nanos]): [Call, Wanted] => [
      { put: { key, value: bytes('v'), ttl: { seconds, nanos } } },
      invalid,
    ]),
  ]);
});

test('a placement that the cluster can never meet is refused with the numbers, and nothing is written', async () => {
  const impossible: Wanted = { reason: 'PLACEMENT_IMPOSSIBLE', code: status.FAILED_PRECONDITION, message: /99|4/ };
  await eachIsRefused((key) => [
    [{ put: { key, value: bytes('v'), require: { durable: 0, hosts: 0, zones: 99 } } }, impossible],
    [{ put: { key, value: bytes('v'), require: { durable: 0, hosts: 4, zones: 0 } } }, impossible],
    [{ put: { key, value: bytes('v'), require: { durable: 4, hosts: 0, zones: 0 } } }, impossible],
  ]);
});

test('a dot that is none is refused in a get', async () => {
  const refused: Wanted = { reason: 'CONTEXT_INVALID', code: INVALID_ARGUMENT, field: 'dots' };
  await eachIsRefused((key) =>
    ['', 'x', '0000000000000001', '0000000000000001:0', '0000000000000001:-1', 'n'.repeat(1_000)].map((dot) => [
      { get: { key, dots: [dot] } },
      refused,
    ]),
  );
});

test('a deadline that has passed, or passes at once, is a DEADLINE, and the write is there whole or not at all', async () => {
  const value = Buffer.alloc(mib, 'd');
  for (const door of doors) {
    const key = keyOf('deadline', door);
    const timeouts = door.isSession ? [1, 1, 2, 3] : [-1_000, 0, 1, 2];
    const answers: Answer[] = [];
    for (const timeoutMs of timeouts) answers.push(await door.call({ put: { key, value } }, timeoutMs));
    for (const { put, error } of answers) {
      if (put === undefined) assert.equal(error?.code, status.DEADLINE_EXCEEDED, `${door.name}: ${error?.message}`);
    }
    const { siblings } = assertGet(await door.call({ get: { key, r: 3 } }), door.name);
    for (const sibling of siblings) assert.equal(Buffer.compare(sibling.value, value), 0);
    assert.ok(siblings.length <= timeouts.length);
    const written = answers.filter(({ put }) => put !== undefined).length;
    assert.ok(siblings.length >= written, `${written} acknowledged, ${siblings.length} there`);
  }
});

test('five siblings of 1 MiB: the answer is bounded, the rest is named and read by dot, and the key is resolved', async () => {
  for (const door of doors) {
    const key = keyOf('siblings', door);
    const values = [1, 2, 3, 4, 5].map((n) => Buffer.alloc(mib, n));
    for (const value of values) assertPut(await door.call({ put: { key, value, w: 3 } }), door.name);

    const bounded = assertGet(await door.call({ get: { key } }), door.name);
    assert.deepEqual([bounded.siblings.length, bounded.omitted.length], [3, 2]);
    const one = assertGet(await door.call({ get: { key, maxBytes: 1 } }), door.name);
    assert.deepEqual([one.siblings.length, one.omitted.length], [1, 4]);
    const all = assertGet(await door.call({ get: { key, maxBytes: 0xffff_ffff } }), door.name);
    assert.deepEqual([all.siblings.length, all.omitted.length], [5, 0]);

    const found = [...bounded.siblings];
    for (const dot of bounded.omitted) {
      const { siblings, omitted } = assertGet(await door.call({ get: { key, dots: [dot] } }), door.name);
      assert.deepEqual(
        siblings.map((sibling) => sibling.dot),
        [dot],
      );
      assert.deepEqual(omitted, []);
      found.push(...siblings);
    }
    const firstBytes = found.map(({ value }) => (value.length === mib ? value[0] : -1)).sort();
    assert.deepEqual(firstBytes, [1, 2, 3, 4, 5]);

    // Every replica holds the five: the record crossed the nodes, which it cannot in one message.
    const { replicas } = await explain(cluster.router.address, key);
    assert.deepEqual(
      replicas.map(({ dots }) => dots.length),
      [5, 5, 5],
    );
    const resolved = await door.call({ put: { key, value: bytes('one'), context: one.context } });
    assert.equal(assertPut(resolved, door.name).siblings, 1);
    assert.deepEqual(await valuesOf(door, key), ['one']);
  }
});

test('a key that is written blindly for ever stays readable, and is writable again once it is resolved', async () => {
  const door = doors.find(({ name }) => name === 'session at the router') as Door;
  const key = keyOf('blind', door);
  const value = bytes('v');
  const limit = 1_000;
  const puts = Array.from({ length: limit }, (_, i) => i);
  await inGroups(puts, 100, async () => void assertPut(await door.call({ put: { key, value, w: 3 } }), 'a put'));
  for (const each of doors) {
    const message = /1001 siblings, the limit is 1000; read and resolve/;
    const refused: Wanted = { reason: 'VALUE_TOO_LARGE', code: INVALID_ARGUMENT, field: 'context', message };
    assertFailure(await each.call({ put: { key, value } }), refused, each.name);
    const { siblings, omitted } = assertGet(await each.call({ get: { key, maxBytes: 1 } }), each.name);
    assert.deepEqual([siblings.length, omitted.length], [1, limit - 1]);
  }
  const { siblings, context } = assertGet(await door.call({ get: { key } }), 'a get');
  assert.equal(siblings.length, limit);
  assert.equal(assertPut(await door.call({ put: { key, value, context } }), 'a put that resolves').siblings, 1);
  assert.equal(assertPut(await door.call({ put: { key, value } }), 'a blind put').siblings, 2);
});

test('keys that are not UTF-8, hold 0x00, or differ in Unicode form only are each their own', async () => {
  const keys = [
    Buffer.from([0]),
    Buffer.from([0, 0]),
    Buffer.from([0xff]),
    Buffer.from([0xff, 0xfe, 0x00, 0x80]),
    Buffer.from([0xc3, 0x28]),
    bytes('caf\u00e9'),
    bytes('cafe\u0301'),
    bytes('a\0b'),
    bytes('a'),
    bytes(' a'),
    bytes('A'),
  ];
  const last = doors.length - 1;
  for (const [d, door] of doors.entries()) {
    const prefix = bytes(`bytes ${d} `);
    const mine = keys.map((key) => Buffer.concat([prefix, key]));
    for (const key of mine) assertPut(await door.call({ put: { key, value: key } }), door.name);
    for (const key of mine) {
      // By another door: the same bytes name the same key everywhere.
      const { siblings } = assertGet(await (doors[last - d] as Door).call({ get: { key } }), door.name);
      assert.deepEqual(
        siblings.map(({ value }) => value.toString('hex')),
        [key.toString('hex')],
      );
    }
    for (const address of [cluster.router.address, cluster.nodes[2]?.address as string]) {
      const listed = await listKeys(address, { prefix });
      assert.deepEqual(hexSorted(listed), hexSorted(mine));
    }
  }
});

test('a value of no bytes, of every byte, and of bytes that look like a message come back the same', async () => {
  const every = Buffer.from(Array.from({ length: 256 }, (_, i) => i));
  const values = [Buffer.alloc(0), every, encode('put', { put: { key: every } }), Buffer.alloc(mib)].map(Buffer.from);
  for (const door of doors) {
    for (const [i, value] of values.entries()) {
      const key = keyOf(`value ${i}`, door);
      assertPut(await door.call({ put: { key, value } }), door.name);
      const { siblings } = assertGet(await door.call({ get: { key, r: 3 } }), door.name);
      assert.equal(siblings.length, 1);
      assert.equal(Buffer.compare(siblings[0]?.value as Buffer, value), 0);
    }
  }
});

test('a page token that is forged, cut, changed or of another listing is refused, by router and storage node', async () => {
  for (const address of [cluster.router.address, cluster.nodes[0]?.address as string]) {
    const prefix = bytes(`paged ${address} `);
    const keys = ['a', 'b', 'c'].map((text) => Buffer.concat([prefix, bytes(text)]));
    for (const key of keys) assertPut(await (doors[0] as Door).call({ put: { key, value: key } }), 'a put');
    const [first] = await pages(address, { prefix, pageSize: 1 });
    assert.ok(first);
    const token = first.pageToken;
    const rest = await listKeys(address, { prefix, pageToken: token });
    assert.deepEqual(hexSorted([...first.entries.map(({ key }) => key), ...rest]), hexSorted(keys));

    const { context } = assertGet(await (doors[0] as Door).call({ get: { key: keys[0] as Buffer } }), 'a get');
    const forged = [context, bytes('forged'), Buffer.alloc(100_000, 0x71), token.subarray(0, -1), token.subarray(1)];
    for (let bit = 0; bit < token.length * 8; bit += 5) {
      const flipped = Buffer.from(token);
      flipped[bit >> 3] = (flipped[bit >> 3] as number) ^ (1 << (bit & 7));
      forged.push(flipped);
    }
    for (const pageToken of forged) await assertRefusedListing(address, { prefix, pageToken }, 'PAGE_TOKEN_INVALID');
    await assertRefusedListing(address, { prefix: bytes('other'), pageToken: token }, 'PAGE_TOKEN_INVALID');
    await assertRefusedListing(address, { namespace: 'No' }, 'NAMESPACE_INVALID');
    await assertRefusedListing(address, { namespace: 'carts' }, 'NAMESPACE_UNKNOWN');
    await assert.rejects(explain(address, bytes('k'), 'carts'), { reason: 'NAMESPACE_UNKNOWN' });
    await assert.rejects(explain(address, Buffer.alloc(0)), { reason: 'KEY_EMPTY' });
    await assert.rejects(explain(address, Buffer.alloc(5_000)), { reason: 'KEY_TOO_LARGE' });
    await assert.rejects(explain(address, bytes('k'), 'No'), { reason: 'NAMESPACE_INVALID' });
  }
});

test('with too few replicas an operation says how many it wanted and reached, and whether it may have been applied', async (t) => {
  const [alive, ...others] = cluster.nodes;
  assert.ok(alive);
  const key = bytes('too few replicas');
  const requestId = bytes('too few replicas');
  const value = bytes('v');
  const tooFew: Wanted = {
    reason: 'NOT_ENOUGH_REPLICAS',
    code: status.UNAVAILABLE,
    message: /2 of 3 replicas wanted, 1 reached/,
  };
  assertPut(await (doors[0] as Door).call({ put: { key: bytes('seen'), value, w: 3 } }), 'a put');

  await t.test('the others stand still: DEADLINE, and the outcome of a write is unknown', async () => {
    await Promise.all(others.map((node) => node.kill('SIGSTOP')));
    const door = doors.find(({ name }) => name === 'session at a storage node') as Door;
    const late: Wanted = { reason: 'DEADLINE', code: status.DEADLINE_EXCEEDED, message: /^1 of 2 replicas had/ };
    // Together: a second after the first question they are known to be silent.
    const [put, get] = await Promise.all([
      door.call({ put: { key: bytes('stood still'), value } }, 700),
      door.call({ get: { key: bytes('seen') } }, 700),
    ]);
    const { receipt } = assertFailure(put, { ...late, outcome: 'UNKNOWN' }, 'a put');
    assert.equal(receipt?.acks.length, 1);
    assertFailure(get, late, 'a get');
  });

  await t.test('they die while a write is under way: ABORTED, outcome unknown, and a receipt', async () => {
    await Promise.all(others.map((node) => node.kill('SIGCONT')));
    const direct = doors.find(({ name }) => name === 'session at a storage node') as Door;
    await until(
      'all answer again',
      async () => (await direct.call({ put: { key: bytes('awake'), value, w: 3 } })).put !== undefined,
    );
    await Promise.all(others.map((node) => node.kill('SIGSTOP')));
    const under = (doors as readonly Door[])
      .slice(2)
      .map((door) => door.call({ put: { key, value, requestId } }, 9_000));
    // The own replica must have it before the others go; its answer can be seen with r = 1.
    await until(
      'its own replica has it',
      async () => (await (doors[3] as Door).call({ get: { key, r: 1 } })).get?.siblings.length === 1,
    );
    await Promise.all(others.map((node) => node.kill('SIGKILL')));
    for (const answer of await Promise.all(under)) {
      const wanted: Wanted = { ...tooFew, code: status.ABORTED, outcome: 'UNKNOWN' };
      const { receipt } = assertFailure(answer, wanted, 'a put under way');
      assert.deepEqual(
        receipt?.acks.map(({ durable }) => durable),
        [true],
      );
    }
  });

  await t.test('they are gone: UNAVAILABLE, not applied', async () => {
    for (const door of doors) {
      const other = keyOf('gone', door);
      const context = assertGet(await door.call({ get: { key, r: 1 } }), door.name).context;
      assertFailure(await door.call({ put: { key: other, value } }), tooFew, door.name);
      assertFailure(await door.call({ get: { key: other } }), tooFew, door.name);
      assertFailure(await door.call({ delete: { key, context } }), tooFew, door.name);
      const three: Wanted = { ...tooFew, message: /3 of 3 replicas wanted, 1 reached/ };
      assertFailure(await door.call({ put: { key: other, value, w: 3 } }), three, door.name);
      const { siblings } = assertGet(await door.call({ get: { key: other, r: 1 } }), door.name);
      assert.equal(siblings.length, 0, 'nothing was written');
      assertPut(await door.call({ put: { key: other, value, w: 1 } }), door.name);
      assert.equal(assertGet(await door.call({ get: { key: other, r: 1 } }), door.name).siblings.length, 1);
    }
  });

  await t.test('they are back: the write whose outcome was unknown is sent again, and is one', async () => {
    await Promise.all(others.map((node) => node.start()));
    const door = sessionDoor('a fresh session at the storage node', alive.address);
    await until('all answer', async () => (await door.call({ get: { key: bytes('seen'), r: 3 } })).get !== undefined);
    assertPut(await door.call({ put: { key, value, requestId, attempt: 1, w: 3 } }), 'the same write');
    assert.deepEqual(await valuesOf(door, key), ['v']);
    door.close();
    const router = unaryDoor('a fresh call at the router', cluster.router.address);
    assert.deepEqual(await valuesOf(router, key), ['v']);
    router.close();
  });
});

async function inGroups<T>(
  items: readonly T[],
  size: number,
  run: (item: T, i: number) => Promise<void>,
): Promise<void> {
  for (let i = 0; i < items.length; i += size) {
    await Promise.all(items.slice(i, i + size).map((item, j) => run(item, i + j)));
  }
}

function hexSorted(keys: readonly Buffer[]): string[] {
  return keys.map((key) => key.toString('hex')).sort();
}

/** Rejects with the Failure of the trailer. */
async function explain(address: string, key: Buffer, namespace = ''): Promise<ExplainResponse> {
  const client = new KeyValueServiceClient(address, credentials.createInsecure());
  try {
    return await new Promise((resolve, reject) => {
      client.explain({ namespace, key }, new Metadata(), (error, response) => {
        if (error) reject(fromServiceError(error, address));
        else resolve(response);
      });
    });
  } finally {
    client.close();
  }
}

async function pages(address: string, request: Partial<ListKeysRequest>): Promise<ListKeysResponse[]> {
  const client = new KeyValueServiceClient(address, credentials.createInsecure());
  try {
    const found: ListKeysResponse[] = [];
    for await (const page of client.listKeys(ListKeysRequest.fromPartial(request)))
      found.push(page as ListKeysResponse);
    return found;
  } catch (error) {
    throw fromServiceError(error as ServiceError, address);
  } finally {
    client.close();
  }
}

async function listKeys(address: string, request: Partial<ListKeysRequest>): Promise<Buffer[]> {
  return (await pages(address, request)).flatMap(({ entries }) => entries.map(({ key }) => key));
}

async function assertRefusedListing(address: string, request: Partial<ListKeysRequest>, reason: string): Promise<void> {
  const failure = await pages(address, request).catch((thrown: unknown) => thrown);
  assert.ok(failure instanceof Failure, `wanted ${reason}, and the listing went well`);
  assert.equal(failure.reason, reason, failure.message);
}
