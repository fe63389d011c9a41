/**
 * The lint rules that keep the arrows between the rooms one way. Each line is a file that would break one (or
 * just not), linted with the project's own configuration in a folder of its own.
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

type Case = readonly [file: string, source: string];

/** A module that uses what it imports, so that no other rule has a say. */
const from = (...specifiers: string[]) =>
  specifiers.map((specifier, i) => `import { v${i} } from '${specifier}';\nexport const w${i} = v${i};\n`).join('');

const REFUSED: readonly Case[] = [
  ['services/core/x.ts', from('../platform/clock.ts')],
  ['services/core/x.ts', from('../membership/main.ts')],
  ['services/core/x.ts', from('../../client/index.ts')],
  ['services/core/x.ts', from('../../proto/gen/cartwheel/kv/v1/kv.ts')],
  ['services/core/x.ts', from('node:fs')],
  ['services/core/x.ts', from('pino')],
  ['services/core/ring/x.ts', from('../../platform/hash.ts')],
  ['services/core/ring/x.ts', from('../../../proto/gen/cartwheel/kv/v1/kv.ts')],
  ['services/core/ring/x.ts', from('@grpc/grpc-js')],
  ['services/core/x.ts', 'export const x = Math.random();'],
  ['services/core/x.ts', 'export const x = Date.now();'],
  ['services/core/x.ts', 'export const x = new Date();'],
  ['services/core/x.ts', 'export const x = performance.now();'],
  ['services/core/x.ts', 'setTimeout(() => {}, 1);'],
  ['services/core/x.ts', 'setInterval(() => {}, 1);'],
  ['services/core/ring/x.ts', 'setImmediate(() => {});'],
  ['services/platform/x.ts', from('../membership/main.ts')],
  ['services/platform/x.ts', from('../../client/index.ts')],
  ['services/platform/x.ts', from('../../cli/main.ts')],
  ['services/platform/x.ts', from('rocksdb')],
  ['services/platform/gossip/x.ts', from('../../router/main.ts')],
  ['services/platform/rocksdb/x.ts', from('../../storage-node/node.ts')],
  ['services/platform/rocksdb/x.ts', from('@kubernetes/client-node')],
  ['services/platform/kubernetes/x.ts', from('rocksdb')],
  ['services/membership/x.ts', from('@kubernetes/client-node')],
  ['cli/x.ts', from('@kubernetes/client-node')],
  ['services/router/x.ts', from('../membership/claimant.ts')],
  ['services/router/x.ts', from('../../client/index.ts')],
  ['services/router/x.ts', from('@grpc/grpc-js')],
  ['services/router/x.ts', from('prom-client')],
  ['services/router/main.ts', from('../storage-node/node.ts')],
  ['services/storage-node/x.ts', from('../router/main.ts')],
  ['services/storage-node/x.ts', from('../../cli/main.ts')],
  ['services/storage-node/x.ts', from('rocksdb')],
  ['services/membership/server.ts', from('../storage-node/node.ts')],
  ['client/x.ts', from('../services/storage-node/node.ts')],
  ['client/x.ts', from('../cli/main.ts')],
  ['cli/x.ts', from('../services/router/main.ts')],
  ['cli/dev/x.ts', from('../../services/membership/main.ts')],
  ['cli/x.ts', from('rocksdb')],
  ['examples/cart/x.ts', from('../../services/core/failure.ts')],
];

const ALLOWED: readonly Case[] = [
  ['services/core/x.ts', from('./ring/ring.ts')],
  ['services/core/x.ts', "import type { Ring } from '../../proto/gen/cartwheel/kv/v1/kv.ts';\nexport type X = Ring;"],
  ['services/core/ring/x.ts', from('../failure.ts', '../membership/members.ts', './claim.ts')],
  [
    'services/core/ring/x.ts',
    "import type {\n  Node,\n  Ring,\n} from '../../../proto/gen/cartwheel/kv/v1/kv.ts';\nexport type X = Ring | Node;",
  ],
  ['services/platform/x.ts', from('../core/membership/members.ts', 'prom-client', '@grpc/grpc-js', 'node:fs')],
  ['services/platform/gossip/x.ts', from('../../../proto/gen/cartwheel/membership/v1/membership.ts', '../clock.ts')],
  ['services/platform/rocksdb/x.ts', from('rocksdb', '../../core/ports.ts')],
  ['services/router/x.ts', from('../core/membership/members.ts', '../platform/clock.ts', './routes.ts')],
  ['services/router/server.ts', from('@grpc/grpc-js', '../../proto/gen/cartwheel/kv/v1/kv.ts')],
  ['services/membership/main.ts', from('@grpc/grpc-js', '../core/membership/members.ts', './claimant.ts')],
  ['client/x.ts', from('@grpc/grpc-js', '../services/core/membership/members.ts', '../services/platform/errors.ts')],
  ['cli/dev/x.ts', from('@grpc/grpc-js', '../../services/platform/process.ts', '../../client/index.ts')],
  ['examples/cart/x.ts', from('../../client/index.ts')],
];

const RULES = ['lint/style/noRestrictedImports', 'lint/style/noRestrictedGlobals', 'plugin'];

let folder = '';
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'cartwheel-rules-'));
  for (const file of ['biome.json', '.biome', '.gitignore'])
    await cp(join(ROOT, file), join(folder, file), { recursive: true });
});
after(() => rm(folder, { recursive: true }));

/** Several cases have the same place; each gets a file name of its own there, unless the name is the point. */
async function brokenRules(cases: readonly Case[]): Promise<string[][]> {
  const files = cases.map(([file], i) => file.replace(/\/x\.ts$/, `/x${i}.ts`));
  for (const [i, file] of files.entries()) {
    await mkdir(join(folder, dirname(file)), { recursive: true });
    await writeFile(join(folder, file), cases[i]?.[1] ?? '');
  }
  const output = await new Promise<string>((resolve) => {
    const args = ['lint', '--reporter=json', '--max-diagnostics=none', ...files];
    execFile(join(ROOT, 'node_modules/.bin/biome'), args, { cwd: folder }, (_, stdout) => resolve(stdout));
  });
  const { diagnostics } = JSON.parse(output) as { diagnostics: { category: string; location: { path: string } }[] };
  return files.map((file) =>
    diagnostics
      .filter(({ location, category }) => location.path === file && RULES.includes(category))
      .map((d) => d.category),
  );
}

test('an arrow that points the wrong way, and an impure core, fail the lint', async () => {
  const broken = await brokenRules(REFUSED);
  for (const [i, [file, source]] of REFUSED.entries()) assert.notDeepEqual(broken[i], [], `${file}: ${source}`);
});

test('arrows that point the right way pass it', async () => {
  const broken = await brokenRules(ALLOWED);
  for (const [i, [file, source]] of ALLOWED.entries()) assert.deepEqual(broken[i], [], `${file}: ${source}`);
});
