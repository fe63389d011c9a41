/** What is published of the client, as a program outside of this repository gets it. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { startFakeStore } from '../cli/fake-store.ts';
import { startCluster } from './cluster.ts';
import { hangMs, withClient } from './support.ts';

const run = promisify(execFile);
const root = fileURLToPath(new URL('../..', import.meta.url));
const bin = (name: string) => join(root, 'node_modules', '.bin', name);
let directory: string;
/** The package, in it. */
let installed: string;
let packed: string[];

/** Into an empty directory, by npm, with what it depends on from the registry, or from npm's cache where that has it. */
before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'cartwheel-client-'));
  installed = join(directory, 'node_modules', 'cartwheel-client');
  const { stdout } = await run('npm', ['pack', '--json', '--pack-destination', directory], {
    cwd: join(root, 'client'),
  });
  const [{ filename, files }] = JSON.parse(stdout) as [{ filename: string; files: { path: string }[] }];
  packed = files.map(({ path }) => path);
  // npm has told those below it where its own project is.
  const flags = ['--prefix', directory, '--prefer-offline', '--no-audit', '--no-fund'];
  await run('npm', ['install', ...flags, join(directory, filename)], { cwd: directory });
});
after(() => rm(directory, { recursive: true, force: true }));

/** Strict, and with the types of what it depends on looked at too. */
async function compile(file: string): Promise<void> {
  const strict = ['--strict', '--exactOptionalPropertyTypes', '--skipLibCheck', 'false', '--types', 'node'];
  const target = ['--module', 'nodenext', '--target', 'es2022', '--lib', 'es2024'];
  await run(bin('tsc'), [...strict, ...target, file], { cwd: directory }).catch((error) => {
    assert.fail(`${error.stdout}`);
  });
}

test('the first example of its README runs on a cluster, as JavaScript and as TypeScript', {
  timeout: 2 * hangMs,
}, async (t) => {
  const cluster = await startCluster();
  t.after(() => cluster.stop());
  const readme = await readFile(join(installed, 'README.md'), 'utf8');
  const [, example = ''] = /```js\n(.*?)```/s.exec(readme) ?? [];
  const here = example.replace('127.0.0.1:7400', cluster.router.address);
  assert.notEqual(here, example);
  await writeFile(join(directory, 'as-it-is.mjs'), here);
  await writeFile(join(directory, 'compiled.mts'), here);
  await compile('compiled.mts');
  await withClient({ endpoints: [cluster.router.address] }, async (client) => {
    for (const program of ['as-it-is.mjs', 'compiled.mjs']) {
      await client.put('cart-1', '{"items":["milk"]}', { context: (await client.get('cart-1')).context });
      await run(process.execPath, [program], { cwd: directory });
      const { siblings } = await client.get('cart-1');
      assert.deepEqual(
        siblings.map(({ value }) => value.toString()),
        ['{"items":["apple"]}'],
        program,
      );
    }
  });
});

const program = `import { connect, OperationFailed, type GetAnswer, type OperationEvent } from 'cartwheel-client';

const events: OperationEvent[] = [];
const client = connect({ endpoints: [process.argv[2] as string], onOperation: (event) => void events.push(event) });
await client.update('cart', (siblings) => [...siblings.map(({ value }) => value.toString()), 'pear'].join());
const answer: GetAnswer = await client.session().get('cart', { signal: AbortSignal.timeout(10_000) });
const failure: unknown = await client.get('cart', { r: -1 }).catch((error: unknown) => error);
console.log(answer.siblings.map(({ value }) => value.toString()).join(), failure instanceof OperationFailed, events.length);
await client.close();
`;

test('a TypeScript program outside of the repository compiles against its types, strictly, and runs', async (t) => {
  await writeFile(join(directory, 'program.mts'), program);
  await compile('program.mts');
  const store = await startFakeStore();
  t.after(() => store.close());
  const { stdout } = await run(process.execPath, ['program.mjs', store.address], { cwd: directory });
  assert.equal(stdout, 'pear true 3\n');
});

test('the types do not take what the client would refuse', async () => {
  await writeFile(
    join(directory, 'wrong.mts'),
    "import { connect } from 'cartwheel-client';\nconnect({ endpoint: 'a' });\n",
  );
  const args = ['--noEmit', '--strict', '--module', 'nodenext', '--types', 'node', 'wrong.mts'];
  const said = await run(bin('tsc'), args, { cwd: directory }).then(
    () => '',
    ({ stdout }) => stdout,
  );
  assert.match(said, /'endpoint' does not exist in type 'ConnectOptions'/);
});

test('its examples run', async (t) => {
  const store = await startFakeStore();
  t.after(() => store.close());
  const examples = join(installed, 'examples');
  for (const example of await readdir(examples)) {
    const { stdout } = await run(process.execPath, [join(examples, example), store.address], { cwd: directory });
    assert.match(stdout, /bread, cheese|covered by the session: true/);
  }
});

test('it holds no server, and no source without its types', () => {
  assert.deepEqual(
    packed.filter((path) => /storage-node|router\/|membership\/(?!v1)|rocksdb/.test(path)),
    [],
  );
  const modules = packed.filter((path) => path.endsWith('.js') && path.startsWith('dist/'));
  assert.deepEqual(
    modules.map((path) => path.replace(/\.js$/, '.d.ts')).filter((path) => !packed.includes(path)),
    [],
  );
  for (const path of ['README.md', 'LICENSE', 'package.json']) assert.ok(packed.includes(path), path);
});

test('it depends on the very packages that it is tested with', async () => {
  const read = async (path: string) => JSON.parse(await readFile(join(root, path), 'utf8'));
  const { '@types/node': _, ...ours } = (await read('client/package.json')).dependencies as Record<string, string>;
  const all = (await read('package.json')).dependencies as Record<string, string>;
  for (const [name, version] of Object.entries(ours)) assert.equal(version, all[name], name);
});
