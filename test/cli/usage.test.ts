import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { cartwheel } from './run-cartwheel.ts';

const scratch = mkdtempSync(join(tmpdir(), 'cartwheel-usage-'));
after(() => rmSync(scratch, { recursive: true }));
const file = (name: string, text: string) => {
  writeFileSync(join(scratch, name), text);
  return join(scratch, name);
};
/** Nothing listens on port 1. */
const nobody = ['--endpoint', '127.0.0.1:1'];

const wrong: readonly (readonly [args: readonly string[], code: number, named: RegExp])[] = [
  [['gett', 'x'], 2, /unknown command 'gett'.*Did you mean get/],
  [['get', 'x', '--rwa'], 2, /unknown option '--rwa'.*cartwheel get --help/],
  [['get', 'put', '--w', '2'], 2, /unknown option '--w'.*cartwheel get --help/],
  [['get'], 2, /missing required argument 'key'.*cartwheel get --help/],
  [['get', 'a', 'b'], 2, /too many arguments/],
  [['get', 'x', '--r', 'two'], 2, /--r.*'two'.*whole number from 1 to 255/],
  [['get', 'x', '-o', 'xml'], 2, /'xml'.*table, json/],
  [['get', 'x', '--raw', '-o', 'json'], 2, /both --raw and -o json/],
  [['get', '!!', '--key-base64'], 2, /'!!' is not base64/],
  [['get', 'x', '--timeout', '5'], 2, /--timeout.*'5'.*500ms/],
  [['get', 'x', '--endpoint', 'localhost'], 2, /--endpoint.*127\.0\.0\.1:7400/],
  [['put', 'x'], 2, /'value'.*standard input/],
  [['get', 'x\ufffd'], 2, /key 'x\ufffd' has U\+FFFD in it: it was not UTF-8.*--key-base64/],
  [['put', 'x', 'y\ufffd'], 2, /value 'y\ufffd' has U\+FFFD.*--file PATH, or '-'/],
  [['resolve', 'x', '--value', '\ufffd'], 2, /--value '\ufffd' has U\+FFFD.*--file/],
  [['keys', '--prefix', '\ufffd'], 2, /--prefix '\ufffd' has U\+FFFD/],
  [['put', 'x', 'y', '--file', 'z'], 2, /both VALUE and --file/],
  [['put', 'x', 'y', '--context', '%%'], 2, /--context.*base64/],
  [['put', 'x', '--file', join(scratch, 'none')], 1, /none: no such file/],
  [['put', 'x', '--file', scratch], 1, /is a directory/],
  [['put', 'x', '--file', '/dev/zero'], 2, /VALUE_TOO_LARGE: the value has more than \d+ bytes.*1 MiB/],
  [['load', join(scratch, 'none'), '--key', 'id'], 1, /none: no such file/],
  [['load', '-', '--key', 'id'], 1, /standard input is no file/],
  [['load', '/dev/null', '--key', 'id'], 1, /\/dev\/null is no file/],
  [['load', scratch, '--key', 'id'], 1, /is a directory/],
  [['load', file('empty.json', ' \n'), '--key', 'id'], 1, /empty\.json has no records/],
  [['load', file('a.json', '[]')], 2, /--key/],
  [['load', file('b.json', '[]'), '--key', '{id'], 2, /'\{id'.*stands alone/],
  [['load', file('c.json', '[]'), '--key', 'id', '--verify', '--replace'], 2, /both --verify and --replace/],
  [['resolve', 'x', '--pick', '1', '--merge', 'union'], 2, /more than one of --pick/],
  [['bench', '--reads', '2'], 2, /--reads.*0 to 1/],
  [['bench', '--workload', 'a', '--reads', '1'], 2, /both --workload and --reads/],
  [['bench', '--pids', '999999999'], 1, /no such process: 999999999/],
  [['ring', 'plan', '--replace', 'a'], 2, /--replace 'a' is not OLD=NEW/],
  [['ring', 'plan', '--join', 'a,'], 2, /'a,' names a node that has no name/],
  [['ring', 'plan', '--jion', 'all'], 2, /unknown option '--jion'.*cartwheel ring plan --help/],
  [['ring', 'commit'], 2, /missing required argument 'plan'/],
  [['ring', 'status', ...nobody], 1, /cannot reach 127\.0\.0\.1:1/],
  [['partitions', 'double'], 2, /neither --plan nor --commit.*--commit does it/],
  [['partitions', 'double', '--plan', '--commit'], 2, /both --plan and --commit/],
  [['partitions', 'halve'], 2, /unknown command 'halve'.*cartwheel partitions --help/],
  [['partitions', 'double', '--plan', ...nobody], 1, /cannot reach 127\.0\.0\.1:1/],
  [['kubernetes', 'zone', '--node', 'n'], 2, /required option '--file <path>'/],
  [['kubernetes', 'drain', '--stateful-set', 's', '--to', 'three'], 2, /--to.*'three'.*whole number/],
  [['dev', 'bogus'], 2, /unknown command 'bogus'; there are add, remove, replace \(try: cartwheel dev --help\)/],
  [['put', 'x', 'y', '--request-id', ''], 2, /--request-id.*1 to 32 bytes/],
  [['delete', 'x', '--context', 'AQ==', '--r', '1'], 2, /both --context and --r/],
  [['dev', 'add', '0'], 2, /'0'.*1 to 20/],
  [['dev', 'add', '1', '--data', join(scratch, 'nodev')], 1, /no cluster runs on .*nodev/],
  [['dev', 'remove', 'router'], 2, /'router'.*storage-4/],
  [['dev', '--nodes', '21'], 2, /--nodes.*1 to 20/],
  [['dev', '--partitions', '63'], 2, /--partitions.*power of two/],
  [['dev', '--nodes', '2', '--zones', '3', '--data', join(scratch, 'dev')], 2, /--zones 3 is more than --nodes 2/],
  [
    ['dev', '--nodes', '2', '--replicas', '3', '--data', join(scratch, 'dev')],
    2,
    /--replicas 3 is more than --nodes 2/,
  ],
  [['dev', '--data', '/proc/cartwheel'], 1, /cannot write to \/proc\/cartwheel/],
  [['get', 'x', ...nobody], 1, /cannot reach 127\.0\.0\.1:1 \(connection refused\).*npm start/],
  [['keys', '--count', ...nobody], 1, /cannot reach 127\.0\.0\.1:1/],
  [['status', ...nobody], 1, /cannot reach 127\.0\.0\.1:1/],
  [['bench', ...nobody], 1, /cannot reach 127\.0\.0\.1:1/],
];

test('what is not understood or cannot be done gets one line on stderr, nothing on stdout, and 2 or 1', async () => {
  const cases = [...wrong];
  const lane = async () => {
    for (let next = cases.shift(); next !== undefined; next = cases.shift()) {
      const [args, code, named] = next;
      const ran = await cartwheel(args);
      assert.match(ran.stderr, named, args.join(' '));
      assert.match(ran.stderr, /^cartwheel: [^\n]+\n$/, 'one line');
      assert.equal(ran.stdout, '', args.join(' '));
      assert.equal(ran.code, code, args.join(' '));
    }
  };
  await Promise.all([lane(), lane()]);
});

test('a wrong CARTWHEEL_ENDPOINT is named', async () => {
  const { code, stderr } = await cartwheel(['get', 'x'], { env: { CARTWHEEL_ENDPOINT: 'here' } });
  assert.match(stderr, /CARTWHEEL_ENDPOINT is 'here'.*127\.0\.0\.1:7400/);
  assert.equal(code, 2);
});

test('no command at all shows the help on stderr and exits with 2', async () => {
  const { code, stdout, stderr } = await cartwheel([]);
  assert.match(stderr, /Usage: cartwheel/);
  assert.equal(stdout, '');
  assert.equal(code, 2);
});

test('a command that is only a group shows its own help on stderr and exits with 2', async () => {
  for (const group of ['ring', 'namespace']) {
    const { code, stdout, stderr } = await cartwheel([group]);
    assert.match(stderr, new RegExp(`^Usage: cartwheel ${group} [^]*Examples:\n  cartwheel ${group} `));
    assert.deepEqual([code, stdout], [2, '']);
  }
});

test('--version and the help of every command go to stdout, with an example in each', async () => {
  assert.match((await cartwheel(['--version'])).stdout, /^\d+\.\d+\.\d+\n$/);
  const overview = await cartwheel(['--help']);
  assert.equal(overview.code, 0);
  const commands = [...overview.stdout.matchAll(/^ {2}([a-z]+) (?=.*\S)/gm)].map(([, name]) => name as string);
  for (const name of ['dev', 'put', 'get', 'delete', 'resolve', 'keys', 'explain', 'status', 'load', 'bench']) {
    assert.ok(commands.includes(name), `${name} is in the overview`);
    const { code, stdout, stderr } = await cartwheel([name, '--help']);
    assert.equal(code, 0);
    assert.equal(stderr, '');
    assert.match(stdout, /Examples?:\n {2}cartwheel /, name);
    assert.match(stdout, /--endpoint/, name);
    if (name === 'load') assert.match(stdout, /\(default:\s+60s\)/);
  }
});
