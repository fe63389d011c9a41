/** What is published of the client, as a program outside of this repository gets it. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { startFakeStore } from '../cli/fake-store.ts';

const run = promisify(execFile);
const root = fileURLToPath(new URL('../..', import.meta.url));
const bin = (name: string) => join(root, 'node_modules', '.bin', name);
let directory: string;
let packed: string[];

/** Installed as npm does it, but for the packages it depends on, which are those of this repository. */
before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'cartwheel-client-'));
  const { stdout } = await run('npm', ['pack', '--json', '--pack-destination', directory], {
    cwd: join(root, 'client'),
  });
  const [{ filename, files }] = JSON.parse(stdout) as [{ filename: string; files: { path: string }[] }];
  packed = files.map(({ path }) => path);
  const installed = join(directory, 'node_modules', 'cartwheel-client');
  await mkdir(installed, { recursive: true });
  await run('tar', ['-xzf', join(directory, filename), '--strip-components=1', '-C', installed]);
  const { dependencies } = JSON.parse(await readFile(join(installed, 'package.json'), 'utf8'));
  for (const name of Object.keys(dependencies)) {
    const link = join(directory, 'node_modules', name);
    await mkdir(dirname(link), { recursive: true });
    await symlink(join(root, 'node_modules', name), link);
  }
  await writeFile(join(directory, 'package.json'), '{ "type": "module" }');
});
after(() => rm(directory, { recursive: true, force: true }));

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
  await writeFile(join(directory, 'program.ts'), program);
  const strict = ['--strict', '--exactOptionalPropertyTypes', '--skipLibCheck', 'false', '--types', 'node'];
  const target = ['--module', 'nodenext', '--target', 'es2022', '--lib', 'es2024'];
  await run(bin('tsc'), [...strict, ...target, 'program.ts'], { cwd: directory }).catch((error) => {
    assert.fail(`${error.stdout}`);
  });
  const store = await startFakeStore();
  t.after(() => store.close());
  const { stdout } = await run(process.execPath, ['program.js', store.address], { cwd: directory });
  assert.equal(stdout, 'pear true 3\n');
});

test('the types do not take what the client would refuse', async () => {
  await writeFile(
    join(directory, 'wrong.ts'),
    "import { connect } from 'cartwheel-client';\nconnect({ endpoint: 'a' });\n",
  );
  const args = ['--noEmit', '--strict', '--module', 'nodenext', '--types', 'node', 'wrong.ts'];
  const said = await run(bin('tsc'), args, { cwd: directory }).then(
    () => '',
    ({ stdout }) => stdout,
  );
  assert.match(said, /'endpoint' does not exist in type 'ConnectOptions'/);
});

test('its examples run', async (t) => {
  const store = await startFakeStore();
  t.after(() => store.close());
  const examples = join(directory, 'node_modules', 'cartwheel-client', 'examples');
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
