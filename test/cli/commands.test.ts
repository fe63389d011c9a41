import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, existsSync, mkdtempSync, openSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, beforeEach, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { type FakeStore, startFakeStore } from './fake-store.ts';
import { cartwheel, cartwheelBytes, type RunOptions } from './run-cartwheel.ts';

const main = fileURLToPath(new URL('../../cli/main.ts', import.meta.url));
const launcher = fileURLToPath(new URL('../../bin/cartwheel.js', import.meta.url));
const scratch = mkdtempSync(join(tmpdir(), 'cartwheel-commands-'));
let store: FakeStore;
let env: Record<string, string>;
before(async () => {
  store = await startFakeStore();
  env = { CARTWHEEL_ENDPOINT: store.address, XDG_STATE_HOME: join(scratch, 'state') };
});
beforeEach(() => {
  store.values.clear();
  store.requestIds.length = 0;
  store.attempts.length = 0;
  store.listingBreaksAfter = Number.POSITIVE_INFINITY;
  store.extraMembers.length = 0;
  store.owed.clear();
  store.hotKeys.length = 0;
  store.answerBytesMax = Number.POSITIVE_INFINITY;
  store.refuse = () => undefined;
});
after(() => {
  store.close();
  rmSync(scratch, { recursive: true });
});

const run = (args: readonly string[], options: RunOptions = {}) => cartwheel(args, { ...options, env });

test('what put writes get shows, for people and as JSON', async () => {
  const put = await run(['put', 'cart-1', '{"items":["apple"]}']);
  assert.match(put.stdout, /^written as fake:\d+: on 1 replica, 1 durable\n$/);
  const shown = await run(['get', 'cart-1']);
  assert.match(shown.stdout, /siblings {2}1\n {2}1\. \{"items":\["apple"\]\}\n/);
  const { code, stdout } = await run(['get', 'cart-1', '-o', 'json']);
  const answer = JSON.parse(stdout);
  assert.equal(code, 0);
  assert.equal(answer.key, 'cart-1');
  assert.equal(answer.siblings.length, 1);
  assert.equal(answer.siblings[0].value, '{"items":["apple"]}');
  assert.match(answer.siblings[0].dot, /^fake:\d+$/);
  assert.equal(answer.siblings[0].writtenAt, '2023-11-14T22:13:20.000Z');
  assert.equal(Buffer.from(answer.context, 'base64').toString(), answer.siblings[0].dot);
  assert.equal(answer.certificate.replicasAnswered, 2);
  assert.deepEqual(answer.certificate.ring, { term: 1, sequence: 7 });
});

test('a key without a value exits with 1: a line on stderr, and with -o json the empty answer on stdout', async () => {
  const people = await run(['get', 'none']);
  assert.deepEqual([people.code, people.stdout, people.stderr], [1, '', 'cartwheel: none: not found\n']);
  const program = await run(['get', 'none', '-o', 'json']);
  assert.equal(program.code, 1);
  assert.deepEqual(JSON.parse(program.stdout).siblings, []);
  assert.match(program.stderr, /none: not found/);
});

test('bytes that are not text go in from a pipe or a file and come out with --raw as they were', async () => {
  const value = Buffer.from([0, 255, 10, 13, 27, 91, 50, 74, 0]);
  await run(['put', 'k', '-'], { input: value });
  assert.deepEqual((await cartwheelBytes(['get', 'k', '--raw'], { env })).stdout, value);
  assert.equal(
    JSON.parse((await run(['get', 'k', '-o', 'json'])).stdout).siblings[0].valueBase64,
    value.toString('base64'),
  );
  writeFileSync(join(scratch, 'value'), value);
  await run(['put', 'k2', '--file', join(scratch, 'value')]);
  assert.deepEqual(
    store.values.get('k2')?.map((sibling) => sibling.value),
    [value],
  );
  assert.doesNotMatch((await run(['get', 'k'])).stdout.replaceAll('\n', ''), /\p{Cc}/u);
});

test('a key that is not text is listed in base64 and found by it', async () => {
  store.put('\xff\x00', 'v');
  const { stdout } = await run(['keys', '-o', 'json']);
  assert.deepEqual(JSON.parse(stdout), { keyBase64: '/wA=' });
  const found = await run(['get', '/wA=', '--key-base64', '-o', 'json']);
  assert.equal(JSON.parse(found.stdout).siblings[0].value, 'v');
});

test('--context replaces exactly what it covers, and a blind put leaves a sibling and says so', async () => {
  await run(['put', 'k', 'one']);
  const { context } = JSON.parse((await run(['get', 'k', '-o', 'json'])).stdout);
  await run(['put', 'k', 'two', '--context', context]);
  assert.deepEqual(
    store.values.get('k')?.map(({ value }) => value.toString()),
    ['two'],
  );
  const blind = await run(['put', 'k', 'three']);
  assert.match(blind.stderr, /2 siblings now: cartwheel resolve k\n/);
  assert.match((await run(['get', 'k', '--raw'])).stderr, /k has 2 siblings, --raw wants one/);
});

test('what put says to type next names the same key in the same namespace', async () => {
  for (const [key, words] of [
    ["it's 7", String.raw`'it'\''s 7' --namespace shop`],
    ['\x1b[2J', '--key-base64 G1sySg== --namespace shop'],
  ] as const) {
    await run(['put', key, 'one', '--namespace', 'shop']);
    const { stderr } = await run(['put', key, 'two', '--namespace', 'shop']);
    assert.ok(stderr.endsWith(`: cartwheel resolve ${words}\n`), stderr);
  }
});

test('delete removes what is there, and says so when there is nothing', async () => {
  store.put('k', 'a');
  store.put('k', 'b');
  assert.match((await run(['delete', 'k'])).stdout, /^deleted as /);
  assert.equal(store.values.has('k'), false);
  const program = await run(['delete', 'k', '-o', 'json']);
  assert.equal(program.code, 1);
  assert.equal(program.stdout, (await run(['get', 'k', '-o', 'json'])).stdout);
  const again = await run(['delete', 'k']);
  assert.equal(again.code, 1);
  assert.match(again.stderr, /k: not found: it was deleted/);
});

test('resolve picks, merges or takes a value, and one is left', async () => {
  const left = () => store.values.get('k')?.map(({ value }) => value.toString());
  const siblings = () => {
    store.values.clear();
    store.put('k', '{"items":["apple"]}');
    store.put('k', '{"items":["pear","apple"]}');
  };
  siblings();
  await run(['resolve', 'k', '--pick', '2']);
  assert.deepEqual(left(), ['{"items":["pear","apple"]}']);
  siblings();
  await run(['resolve', 'k', '--merge', 'union']);
  assert.deepEqual(left(), ['{"items":["apple","pear"]}']);
  siblings();
  await run(['resolve', 'k', '--value', 'mine']);
  assert.deepEqual(left(), ['mine']);
  siblings();
  const editor = join(scratch, 'editor');
  // It touches nothing but the file it is meant to be given, whatever it is given.
  const script = [
    '#!/bin/sh',
    '[ "$#" = 1 ] || exit 9',
    'case "$1" in */cartwheel-resolve-*/value) ;; *) exit 9 ;; esac',
    'grep -v "^<<<<<<<" "$1" | tail -1 > "$1.new" && mv "$1.new" "$1"',
    '',
  ];
  writeFileSync(editor, script.join('\n'), { mode: 0o755 });
  await cartwheel(['resolve', 'k', '--editor'], { env: { ...env, VISUAL: editor } });
  assert.deepEqual(left(), ['{"items":["pear","apple"]}']);
});

test('resolve writes nothing when it cannot: no such sibling, no union, no terminal, an editor that leaves a divider', async () => {
  store.put('k', '{"n":1}');
  store.put('k', '{"n":2}');
  assert.match((await run(['resolve', 'k', '--pick', '3'])).stderr, /--pick 3: there are 2 siblings/);
  assert.match((await run(['resolve', 'k', '--merge', 'union'])).stderr, /siblings differ at \$\.n: 1 and 2/);
  const asked = await run(['resolve', 'k']);
  assert.match(asked.stderr, /1\. \{"n":1\}[\s\S]*no terminal to ask on/);
  assert.deepEqual([asked.code, asked.stdout], [2, '']);
  const edited = await cartwheel(['resolve', 'k', '--editor'], { env: { ...env, VISUAL: 'true' } });
  assert.match(edited.stderr, /a line with <<<<<<< is left in; nothing was written/);
  assert.equal(store.values.get('k')?.length, 2);
});

test('get shows every sibling that its context covers, however many answers that takes', async () => {
  store.answerBytesMax = 10;
  const values = Array.from({ length: 7 }, (_, i) => `value ${i} of 7`);
  for (const value of values) store.put('k', value);
  const answer = JSON.parse((await run(['get', 'k', '-o', 'json'])).stdout);
  assert.deepEqual(
    answer.siblings.map(({ value }: { value: string }) => value),
    values,
  );
  assert.deepEqual(answer.omitted, []);
  assert.match((await run(['get', 'k'])).stdout, /siblings {2}7\n[\s\S]* 7\. value 6 of 7\n/);
});

test('what get leaves out because it was told to is said, and no context comes with chosen siblings', async () => {
  for (const value of ['first one', 'second one', 'third one']) store.put('k', value);
  const bounded = await run(['get', 'k', '--max-bytes', '20']);
  assert.match(bounded.stdout, /siblings {2}3\n[\s\S]*omitted {3}fake:\d+ \(left out/);
  assert.match(bounded.stderr, /WARNING: the context covers 1 sibling that --max-bytes left out: .* destroys/);
  const [, second, third] = (store.values.get('k') ?? []).map(({ dot }) => dot);
  const chosen = await run(['get', 'k', '--dot', second as string, '--dot', third as string, '-o', 'json']);
  const { siblings, context } = JSON.parse(chosen.stdout);
  assert.deepEqual(
    siblings.map(({ value }: { value: string }) => value),
    ['second one', 'third one'],
  );
  assert.equal(context, '');
  assert.equal((await run(['get', 'k', '--dot', third as string, '--raw'])).stdout, 'third one');
  assert.match((await run(['get', 'k', '--dot', 'fake:99'])).stderr, /k has no sibling fake:99/);
});

test('a sibling that is gone when it is asked for makes get begin again, and give up where that goes on', async () => {
  store.answerBytesMax = 1;
  store.put('k', 'one');
  store.put('k', 'two');
  let replaced = 0;
  store.refuse = ({ get }) => {
    if ((get?.dots.length ?? 0) > 0 && replaced < 1) {
      replaced++;
      store.values.get('k')?.pop();
      store.put('k', 'three');
    }
    return undefined;
  };
  const { siblings } = JSON.parse((await run(['get', 'k', '-o', 'json'])).stdout);
  assert.deepEqual(
    siblings.map(({ value }: { value: string }) => value),
    ['one', 'three'],
  );
  replaced = Number.NEGATIVE_INFINITY;
  const { code, stdout, stderr } = await run(['get', 'k', '-o', 'json']);
  assert.match(stderr, /k: its siblings changed each time while they were read/);
  assert.deepEqual([code, stdout], [1, '']);
});

test('resolve sees siblings that do not fit into one answer', async () => {
  store.answerBytesMax = 10;
  const siblings = () => {
    store.values.clear();
    for (const item of ['apple', 'pear', 'plum']) store.put('k', JSON.stringify({ items: [item.repeat(9)] }));
  };
  const left = () =>
    JSON.parse(
      store.values
        .get('k')
        ?.map(({ value }) => value.toString())
        .join(' ') ?? '',
    ).items;
  siblings();
  await run(['resolve', 'k', '--pick', '3']);
  assert.deepEqual(left(), ['plum'.repeat(9)]);
  siblings();
  await run(['resolve', 'k', '--merge', 'union']);
  assert.deepEqual(
    left(),
    ['apple', 'pear', 'plum'].map((item) => item.repeat(9)),
  );
});

test('keys lists, filters, limits and counts; --count prints digits only', async () => {
  for (let i = 0; i < 250; i++) store.put(`${i % 2 === 0 ? 'even' : 'odd'}/${i}`, 'v');
  assert.equal((await run(['keys', '--count'])).stdout, '250\n');
  assert.equal((await run(['keys', '--count', '--prefix', 'odd/'])).stdout, '125\n');
  const { stdout } = await run(['keys', '--prefix', 'even/', '--limit', '2']);
  assert.deepEqual(stdout, 'even/0\neven/2\n');
});

test('a reader that goes away ends the listing quietly', async () => {
  for (let i = 0; i < 20_000; i++) store.put(`key-${'x'.repeat(50)}-${i}`, 'v');
  const child = spawn(process.execPath, [main, 'keys'], {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let stderr = '';
  child.stderr.on('data', (chunk: Buffer) => {
    stderr += chunk;
  });
  child.stdout.once('data', () => child.stdout.destroy());
  const code = await new Promise((resolve) => child.once('close', resolve));
  assert.equal(stderr, '');
  assert.equal(code, 0);
});

test('output that cannot be written is one line on stderr', { skip: !existsSync('/dev/full') }, async () => {
  store.put('k', 'v');
  const full = openSync('/dev/full', 'w');
  for (const args of [['get', 'k'], ['keys'], ['--help'], ['get', 'k', '--raw']]) {
    const child = spawn(process.execPath, [main, ...args], {
      env: { ...process.env, ...env },
      stdio: ['ignore', full, 'pipe'],
    });
    let stderr = '';
    child.stderr?.on('data', (chunk: Buffer) => {
      stderr += chunk;
    });
    const code = await new Promise((resolve) => child.once('close', resolve));
    assert.match(stderr, /^cartwheel: cannot write to standard output: no space is left where it goes to\n$/);
    assert.equal(code, 1);
  }
  closeSync(full);
});

test('hints names nodes as all commands do, by their addresses; by its id one that the ring does not have', async () => {
  assert.equal((await run(['hints'])).stdout, 'nothing is owed to any node\n');
  store.owed.set('fake', 3n).set('gone', 1n);
  const { stdout } = await run(['hints']);
  assert.match(stdout, new RegExp(`^${store.address} +${store.nodeAddress} +3 `, 'm'));
  assert.match(stdout, new RegExp(`^${store.address} +node gone +1 `, 'm'));
  const { hints } = JSON.parse((await run(['hints', '-o', 'json'])).stdout);
  assert.deepEqual(
    hints.map(({ keptBy, owedTo, owedToId }: Record<string, string>) => [keptBy, owedTo, owedToId]),
    [
      [store.address, store.nodeAddress, 'fake'],
      [store.address, 'node gone', 'gone'],
    ],
  );
});

test('explain shows each replica, status each member; a member that is away makes it exit with 1', async () => {
  const { stdout } = await run(['explain', 'k']);
  assert.equal(JSON.parse((await run(['explain', 'k', '-o', 'json'])).stdout).hash, '00000000000000ff');
  assert.match(stdout, /hash +00000000000000ff\npartition +3 of 1\nring +1\.7\n/);
  assert.match(stdout, /fake +127\.0\.0\.1:\d+ +zone-1 +home +yes +fake:1 +fake:1 +-\n/);
  assert.match(stdout, /other +- +- +fallback +NO +\? +\? +-\n/);
  const well = await run(['status']);
  assert.equal(well.code, 0);
  assert.match(well.stdout, /cluster +fake-cluster\nring +1\.7: 1 partition, 1 replica; 1 of 1 agree\n/);
  assert.match(well.stdout, /storage node +fake +zone-1 +up +1\.7 +0 +2\.0 KiB +1 \(1\) +1 min 1 s/);
  store.extraMembers.push('127.0.0.1:1');
  const ill = await run(['status', '-o', 'json']);
  assert.equal(ill.code, 1);
  assert.match(ill.stderr, /cannot reach 127\.0\.0\.1:1 \(no answer\)/);
  assert.deepEqual(
    JSON.parse(ill.stdout).processes.map(({ reachable }: { reachable: boolean }) => reachable),
    [false, true],
  );
});

test('a member at whose address another node answers is gone, and status says what to do', async () => {
  store.extraMembers.push(store.address);
  const { code, stdout, stderr } = await run(['status']);
  assert.match(stdout, new RegExp(`${store.address} +storage node +${store.address} +zone-1 +GONE`));
  assert.match(
    stderr,
    new RegExp(`${store.address} \\(node fake answers there\\).*cartwheel ring replace ${store.address}`),
  );
  assert.equal(code, 1);
});

test('an operation that the store refuses is one line with the reason, and exit code 2 for one that is never taken', async () => {
  store.refuse = () => ({ reason: 6, code: 3 });
  const { code, stdout, stderr } = await run(['put', 'k', 'v']);
  assert.equal(code, 2);
  assert.equal(stdout, '');
  assert.match(stderr, /^cartwheel: CONTEXT_REQUIRED: refused by the test \(.*\)\n$/);
});

test('a write that may have been made is told as that, and one that was not is not', async () => {
  for (const [outcome, code, hint] of [
    [1, 14, '\\(cartwheel status'],
    [2, 10, '\\(a write may or may not have happened; cartwheel status'],
  ] as const) {
    store.refuse = () => ({ reason: 24, code, outcome });
    const ran = await run(['put', 'k', 'v']);
    assert.match(ran.stderr, new RegExp(`^cartwheel: NOT_ENOUGH_REPLICAS: refused by the test ${hint}`));
    assert.equal(ran.code, 1);
    assert.doesNotMatch((await run(['get', 'k'])).stderr, /write/);
  }
});

test('a put that is named by a request id is one write, however often it is given', async () => {
  const put = () => run(['put', 'k', 'v', '--request-id', 'payment-4711']);
  store.refuse = () => ({ reason: 24, code: 10, outcome: 2 });
  assert.match((await put()).stderr, /it may have been written; given again it is the same write/);
  store.refuse = () => undefined;
  const [first, second] = [await put(), await put()];
  assert.equal(first.stdout, second.stdout);
  assert.equal(store.values.get('k')?.length, 1);
  assert.deepEqual(new Set(store.requestIds), new Set([Buffer.from('payment-4711').toString('hex')]));
  assert.ok(
    store.attempts.every((attempt) => attempt > 0),
    'the first time it is given may not be the first',
  );
});

test('delete looks what is there at as many replicas as --r says', async () => {
  store.put('k', 'v');
  let asked: number | undefined;
  store.refuse = ({ get }) => {
    if (get) asked = get.r;
    return undefined;
  };
  assert.equal((await run(['delete', 'k', '--r', '3'])).code, 0);
  assert.equal(asked, 3);
});

test('a listing that breaks off says so in words, after the keys that came', async () => {
  for (let i = 0; i < 150; i++) store.put(`k${i}`, 'v');
  store.listingBreaksAfter = 1;
  const { code, stdout, stderr } = await run(['keys']);
  assert.equal(stdout.split('\n').length, 101);
  assert.equal(
    stderr,
    `cartwheel: not all keys were listed, but 100: NOT_ENOUGH_REPLICAS: no answer from ${store.address}: ` +
      'the connection was lost (cartwheel status shows which nodes are away)\n',
  );
  assert.equal(code, 1);
  const counted = await run(['keys', '--count']);
  assert.deepEqual([counted.code, counted.stdout], [1, '']);
});

test('a value that fits into no message is refused with both sizes, and nothing is sent', async () => {
  for (const [bytes, most] of [
    [5_000_000, 4 * 1024 * 1024],
    [40_000_000, 32 * 1024 * 1024],
  ] as const) {
    const { code, stdout, stderr } = await run(['put', 'k', '-'], { input: Buffer.alloc(bytes) });
    assert.match(stderr, new RegExp(`^cartwheel: VALUE_TOO_LARGE: the value has ${bytes} bytes, .* ${most} bytes \\(`));
    assert.deepEqual([code, stdout], [2, '']);
  }
  assert.deepEqual(store.requestIds, []);
});

test('load writes a file, loads it again without siblings, and --verify finds it equal', async () => {
  const path = join(scratch, 'users.json');
  writeFileSync(path, JSON.stringify(Array.from({ length: 500 }, (_, id) => ({ id, group: { name: `g${id % 7}` } }))));
  const args = ['load', path, '--key', '{group.name}/{id}'];
  const { code, stdout } = await run(args);
  assert.equal(code, 0);
  assert.match(stdout, /^500 records of 500 written in /);
  assert.equal(store.values.size, 500);
  assert.equal(store.values.get('g2/9')?.[0]?.value.toString(), '{"id":9,"group":{"name":"g2"}}');
  await run(args);
  assert.ok([...store.values.values()].every((siblings) => siblings.length === 1));
  const verified = await run([...args, '--verify', '-o', 'json']);
  assert.equal(verified.code, 0);
  const { equal, sourceSha256, readSha256 } = JSON.parse(verified.stdout);
  assert.equal(equal, 500);
  assert.equal(readSha256, sourceSha256);
  store.values.delete('g2/9');
  const missing = await run([...args, '--verify']);
  assert.equal(missing.code, 1);
  assert.match(missing.stderr, /1 record not found:\n {2}record 10 \(g2\/9\)/);
});

test('--verify counts the records that load rejects, and goes on', async () => {
  const path = join(scratch, 'rejects.ndjson');
  const ids = ['a', '', 'x'.repeat(5000), undefined, 'b'];
  writeFileSync(path, ids.map((id) => `${JSON.stringify({ id })}\n`).join(''));
  store.refuse = ({ put, get }) => {
    const { length } = (put ?? get)?.key ?? '';
    if (length === 0) return { reason: 1, code: 3 };
    return length > 4096 ? { reason: 2, code: 3 } : undefined;
  };
  const args = ['load', path, '--key', 'id'];
  const loaded = await run(args);
  assert.match(loaded.stderr, /3 records of 5 not written\n$/);
  const { code, stdout, stderr } = await run([...args, '--verify']);
  assert.match(stdout, /^2 of 5 records compared in .*: 2 equal, 0 different, 0 missing/);
  assert.match(
    stderr,
    /3 records left out: .*\n {2}record 4: field 'id' is missing\n {2}record 2 \(\): .*\n {2}record 3 \(xxx/,
  );
  assert.equal(code, 0);
  const none = await run(['load', path, '--key', 'no', '--verify']);
  assert.equal(none.code, 1);
  assert.match(none.stderr, /no record was compared/);
});

test('an interrupted --verify promises nothing that it does not keep', async () => {
  const path = join(scratch, 'verified.ndjson');
  writeFileSync(path, Array.from({ length: 100 }, (_, id) => `${JSON.stringify({ id })}\n`).join(''));
  const child = spawn(process.execPath, [main, 'load', path, '--key', 'id', '--verify'], {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  store.refuse = () => {
    if (!child.killed) child.kill('SIGINT');
    return { reason: 26, code: 8 };
  };
  let stderr = '';
  child.stderr.on('data', (chunk: Buffer) => {
    stderr += chunk;
  });
  assert.equal(await new Promise((resolve) => child.once('close', resolve)), 130);
  assert.match(stderr, /^cartwheel: stopped at record \d+ \(a verification always begins anew\)\n$/);
});

test('a load that was stopped goes on where it was, and leaves no journal when it is done', async () => {
  const path = join(scratch, 'stopped.ndjson');
  writeFileSync(path, Array.from({ length: 300 }, (_, id) => `${JSON.stringify({ id })}\n`).join(''));
  const args = ['load', path, '--key', 'id', '--concurrency', '4', '--retry-for', '1ms'];
  store.refuse = ({ put }) => (put?.key.toString() === '200' ? { reason: 26, code: 8 } : undefined);
  const stopped = await run(args);
  assert.equal(stopped.code, 1);
  assert.match(stopped.stderr, /stopped after record 200: OVERLOADED.*the same command goes on from there/);
  store.refuse = () => undefined;
  store.requestIds.length = 0;
  const done = await run(args);
  assert.equal(done.code, 0);
  assert.match(done.stderr, /going on after record 200/);
  assert.equal(store.requestIds.length, 100);
  assert.equal(store.values.size, 300);
  assert.deepEqual(readdirSync(join(scratch, 'state', 'cartwheel')), []);
});

test('a load that cannot keep its progress says so and is done all the same', async () => {
  const path = join(scratch, 'no-journal.ndjson');
  writeFileSync(path, '{"id":1}\n');
  const state = { ...env, XDG_STATE_HOME: path };
  const { code, stdout, stderr } = await cartwheel(['load', path, '--key', 'id'], { env: state });
  assert.match(stderr, /^cannot keep the progress in [^\n]*; an interrupted load will begin anew\n$/);
  assert.match(stdout, /^1 record of 1 written/);
  assert.equal(code, 0);
});

test('a load that goes on still fails for the records that an earlier run could not write', async () => {
  const path = join(scratch, 'rejected.ndjson');
  const lines = Array.from({ length: 300 }, (_, id) => `${JSON.stringify(id === 100 ? { no: 'key' } : { id })}\n`);
  writeFileSync(path, lines.join(''));
  const args = ['load', path, '--key', 'id', '--concurrency', '4', '--retry-for', '1ms'];
  store.refuse = ({ put }) => (put?.key.toString() === '200' ? { reason: 26, code: 8 } : undefined);
  assert.equal((await run(args)).code, 1);
  store.refuse = () => undefined;
  const { code, stderr } = await run(args);
  assert.match(stderr, /going on after record 200/);
  assert.match(stderr, /1 record not written, as an earlier run has said\ncartwheel: 1 record of 300 not written\n$/);
  assert.equal(code, 1);
});

test('Ctrl-C in a load keeps its place and exits with 130', async () => {
  const path = join(scratch, 'interrupted.ndjson');
  writeFileSync(path, Array.from({ length: 2000 }, (_, id) => `${JSON.stringify({ id })}\n`).join(''));
  const child = spawn(process.execPath, [main, 'load', path, '--key', 'id', '--concurrency', '2'], {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  // Record 1,000 is never acknowledged: the load is in its middle for as long as it takes.
  store.refuse = ({ put }) => {
    if (put?.key.toString() !== '1000') return undefined;
    if (!child.killed) child.kill('SIGINT'); // a second one would end it at once
    return { reason: 26, code: 8 };
  };
  let stderr = '';
  child.stderr.on('data', (chunk: Buffer) => {
    stderr += chunk;
  });
  const code = await new Promise((resolve) => child.once('close', resolve));
  assert.match(stderr, /^cartwheel: stopped after record 1,000 \(the same command goes on from there\)\n$/);
  assert.equal(code, 130);
  store.refuse = () => undefined;
  const { stderr: next } = await run(['load', path, '--key', 'id']);
  assert.match(next, /going on after record 1,000/);
});

test('bench prints throughput and percentiles, and counts errors by their reason', async () => {
  const flags = ['--seconds', '1', '--warmup', '0', '--keys', '20', '--concurrency', '1', '-o', 'json'];
  const { code, stdout } = await run(['bench', ...flags, '--load', '--rate', '200', '--pids', String(process.pid)]);
  assert.equal(code, 0);
  const result = JSON.parse(stdout);
  assert.ok(result.operations > 0 && result.cpuSeconds >= 0);
  assert.equal(result.readMs.count + result.writeMs.count, result.operations);
  assert.equal(store.values.size, 20);
  assert.ok([...store.values.values()].every((siblings) => siblings.length === 1));
  store.refuse = () => ({ reason: 24, code: 14 });
  const refused = await run(['bench', ...flags, '--timeout', '100ms']);
  assert.equal(refused.code, 1);
  assert.match(refused.stderr, /no operation succeeded: [\d,]+ NOT_ENOUGH_REPLICAS/);
});

for (const [how, script, interrupt] of [
  ['to the command', main, (child: ChildProcess) => child.kill('SIGINT')],
  // As a terminal does it. What `npx cartwheel` starts passes it on, so it comes twice.
  ['to all that was started', launcher, (child: ChildProcess) => process.kill(-(child.pid as number), 'SIGINT')],
] as const) {
  test(`Ctrl-C ${how} in bench exits with 130 and what was measured until then`, async () => {
    const child = spawn(process.execPath, [script, 'bench', '--seconds', '60', '--warmup', '0', '--reads', '1'], {
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
    });
    let operations = 0;
    store.refuse = () => {
      // The first 64 only open the session.
      if (++operations === 500) interrupt(child);
      return undefined;
    };
    const output = ['', ''];
    for (const [i, stream] of [child.stdout, child.stderr].entries()) {
      stream.on('data', (chunk: Buffer) => {
        output[i] += chunk.toString();
      });
    }
    const code = await new Promise((resolve) => child.once('close', resolve));
    assert.match(output[0] as string, /throughput {2}[\d,]+\/s[\s\S]*in milliseconds\n$/);
    assert.match(output[1] as string, /^cartwheel: interrupted: this is of [\d.]+ s only\n$/);
    assert.equal(code, 130);
  });
}

test('hot lists what the endpoint is asked for most, or each storage node', async () => {
  assert.equal((await run(['hot'])).stdout, 'nothing was asked for\n');
  store.hotKeys.push('cart-1', 'cart-\u001b[2J');
  const shown = await run(['hot']);
  assert.equal(
    shown.stdout,
    [
      'KEY           NAMESPACE  READS/S  WRITES/S  SHARE',
      'cart-1        default      100.0       1.0  50.0%',
      'cart-\\x1b[2J  default       50.0       0.5  25.0%',
      '',
    ].join('\n'),
  );
  const nodes = await run(['hot', '--nodes', '--limit', '1', '-o', 'json']);
  assert.deepEqual(JSON.parse(nodes.stdout), {
    node: store.address,
    ...{ key: 'cart-1', namespace: 'default', readsPerSecond: 100, writesPerSecond: 1, errorPerSecond: 0, share: 0.5 },
  });
  const usage = await run(['hot', '--limit', '0']);
  assert.equal(usage.code, 2);
});
