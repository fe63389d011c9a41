/**
 * The tests of the core and of the storage node, run on the systems built wrong of test/sim/controls.ts: what
 * they do not notice they do not test. One test each is named that must fail, and fails for that fault alone.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { controls } from '../sim/controls.ts';

/** By control: a test file, and the test in it that must fail. */
const noticedBy: Readonly<Record<string, readonly (readonly [file: string, name: string])[]>> = {
  'newest-wins': [
    ['core/versioning.test.ts', 'P3: a value stays until a client that has seen it replaces it, truncation or not'],
    ['core/versioning.test.ts', 'merge is associative, heights included'],
    ['core/versioning.test.ts', 'merge does what its definition on plain sets of dots says'],
  ],
  'whole-clock': [
    [
      'storage-node/coordinate-put.test.ts',
      'the context that a put answers with covers no sibling that its client has not seen',
    ],
  ],
  'no-birth-rule': [
    ['core/versioning.test.ts', 'no dot names two writes, whatever crashes, is lost, dropped or restarted'],
    [
      'core/versioning-write.test.ts',
      'a birth of another lineage is not minted under: its later dots may be known elsewhere',
    ],
  ],
  'early-acknowledgement': [
    [
      'storage-node/record-store.test.ts',
      'I3: what is committed with a sync survives the crash of the disk, and committed is never said before',
    ],
  ],
  'dropped-hint': [
    ['storage-node/hints.test.ts', 'what was owed is delivered when the home is back, and fallbacks keep nothing'],
  ],
  'earliest-wins': [
    [
      'core/last-writer.test.ts',
      'of two concurrent puts the later is shown, the other has lost, once, and the next put replaces both',
    ],
  ],
  'repaired-from-one-replica': [
    [
      'storage-node/record-repair.test.ts',
      'while it is damaged others answer, and it is whole again when every other home has said what it has',
    ],
  ],
  'repaired-with-its-birth': [
    ['storage-node/record-repair.test.ts', 'a write after the repair is minted under a new birth'],
  ],
  'damaged-and-owed-to-nobody': [
    [
      'storage-node/record-repair.test.ts',
      'a fallback owes what it keeps, damaged or not, and delivers the rest meanwhile',
    ],
  ],
  'handoff-of-what-has-changed': [
    ['storage-node/hints.test.ts', 'what a record has become while it was delivered is owed still'],
  ],
  'request-id-ignored': [
    [
      'storage-node/requests-remembered.test.ts',
      'a second attempt at another coordinator completes the write of the first, and mints nothing',
    ],
  ],
  'two-overlay-entries': [
    ['storage-node/record-store.test.ts', 'I1: two changes of a key whose first read is still pending both count'],
  ],
};

interface Run {
  readonly code: number | null;
  readonly output: string;
}

/** Runs the tests of those names, on the system built wrong, or on the right one where there is no control. */
function runTests(file: string, names: readonly string[], control?: string): Promise<Run> {
  const mutation = new URL('../sim/mutate.ts', import.meta.url);
  if (control !== undefined) mutation.searchParams.set('control', control);
  const exactly = names.map((name) => `--test-name-pattern=/^${name.replace(/[^\w ]/g, '\\$&')}$/`);
  const { NODE_TEST_CONTEXT: _ours, ...env } = process.env;
  const child = spawn(
    process.execPath,
    [
      ...(control === undefined ? [] : ['--import', mutation.href]),
      ...exactly,
      '--test-reporter=tap',
      '--test-timeout=60000',
      fileURLToPath(new URL(`../${file}`, import.meta.url)),
    ],
    { env, stdio: ['ignore', 'pipe', 'pipe'] },
  );
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk) => {
      output += chunk;
    });
  }
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code) => resolve({ code, output }));
  });
}

function filesOf(expected: readonly (readonly [file: string, name: string])[]): Map<string, string[]> {
  const files = new Map<string, string[]>();
  for (const [file, name] of expected) files.set(file, [...(files.get(file) ?? []), name]);
  return files;
}

for (const [control, expected] of Object.entries(noticedBy)) {
  const fault = controls.find(({ name }) => name === control)?.fault;
  test(`built wrong so that ${fault}, the tests fail`, async () => {
    assert.ok(fault !== undefined, `there is no control "${control}"`);
    for (const [file, names] of filesOf(expected)) {
      const { code, output } = await runTests(file, names, control);
      // 1 is a failed test; a snippet that is not in the file ends otherwise, or with its own words.
      assert.doesNotMatch(output, /has the snippet of the control|never met its file/);
      assert.equal(code, 1, output);
      for (const name of names)
        assert.match(output, new RegExp(`^not ok \\d+ - ${name.replace(/[^\w ]/g, '\\$&')}$`, 'm'));
    }
  });
}

test('built right, the same tests pass: they fail for the fault', async () => {
  for (const [file, names] of filesOf(Object.values(noticedBy).flat())) {
    const { code, output } = await runTests(file, names);
    assert.equal(code, 0, output);
    for (const name of names) assert.match(output, new RegExp(`^ok \\d+ - ${name.replace(/[^\w ]/g, '\\$&')}$`, 'm'));
  }
});
