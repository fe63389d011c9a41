/**
 * The simulation as a test. P1 to P5, P7, P11 and the known traps of docs/promises.md, under the faults of
 * faults/; then systems built wrong, which must be caught.
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { controls, runControl } from './controls.ts';
import { type Mark, marks } from './marks.ts';
import { type Profile, profileOf } from './profile.ts';
import { reportOf } from './report.ts';
import { simulate } from './simulation.ts';

const seeds = 200;
/** Each control stops at the first seed that catches it: most need a few. */
const seedsOfControl = 500;
const seen = new Set<Mark>();
const hashes = new Map<number, string>();

test(`no promise is broken under any of ${seeds} seeds`, async () => {
  for (let seed = 1; seed <= seeds; seed++) {
    const result = await simulate(seed);
    if (result.violation !== undefined) assert.fail(reportOf(result));
    for (const mark of result.marks) seen.add(mark);
    hashes.set(seed, result.hash);
  }
});

test('every situation that the promises are about has happened in these seeds', () => {
  assert.deepEqual(
    marks.filter((mark) => !seen.has(mark)),
    [],
  );
});

test('the same seed gives the same history in this process and in another, and another seed another one', async () => {
  const main = fileURLToPath(new URL('./main.ts', import.meta.url));
  for (const seed of [3, 77, 150]) {
    const { stdout } = await promisify(execFile)(process.execPath, [main, '--seed', String(seed)]);
    const elsewhere = stdout.trim().split('\n').at(-1);
    assert.equal((await simulate(seed)).hash, elsewhere);
    assert.equal(hashes.get(seed), elsewhere);
  }
  assert.equal(new Set(hashes.values()).size, seeds);
});

test('P11: with wall clocks that are right the same happens as with wall clocks that are hours off and jump', async () => {
  const decideNothing = ({ wallSkewMs, latest }: Profile) => wallSkewMs > 3_600_000 && latest === 0;
  const seeds = [...hashes.keys()].filter((seed) => decideNothing(profileOf(seed))).slice(0, 10);
  assert.ok(seeds.length > 0);
  for (const seed of seeds) {
    const result = await simulate(seed, { wallClocksRight: true });
    assert.equal(result.hash, hashes.get(seed), `seed ${seed}`);
  }
});

for (const control of controls) {
  test(`it is noticed when ${control.fault}`, async (context) => {
    const { caught, output } = await runControl(control, seedsOfControl);
    assert.ok(caught, `${control.name} was not caught, in ${seedsOfControl} seeds at most:\n${output}`);
    context.diagnostic(`${caught.by}: ${caught.seen}`);
  });
}
