/**
 * The nemesis, short: that it runs, breaks things, and finds nothing; and that it finds a system that is built wrong.
 * What it is for takes minutes: `npm run nemesis`.
 */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { type TestContext, test } from 'node:test';
import { cut } from '../nemesis/faults/cut.ts';
import { killNode } from '../nemesis/faults/kill-node.ts';
import { oneWayLoss } from '../nemesis/faults/one-way-loss.ts';
import { stopNode } from '../nemesis/faults/stop-node.ts';
import { reportOf } from '../nemesis/report.ts';
import { type RunOptions, run } from '../nemesis/run.ts';
import { removeDirectory, temporaryDirectory } from './support.ts';

/** Only stops a hang: the load lasts for a part of it. */
const hangMs = 240_000;

function optionsFor(t: TestContext, own: Pick<RunOptions, 'faultsMs' | 'faults' | 'data'> & Partial<RunOptions>) {
  const options: RunOptions = {
    ...{ seed: 1, nodes: 4, clients: 2, workers: 24, keep: false, membershipDead: false, control: undefined },
    view: { note: (what) => t.diagnostic(what), status: () => {} },
    stop: AbortSignal.any([]),
    ...own,
  };
  return options;
}

test('P1, P3, P4: real clients find all that was acknowledged after kills, stops and cuts', {
  timeout: hangMs,
}, async (t) => {
  const faults = [killNode, stopNode, cut, oneWayLoss];
  const options = optionsFor(t, { faultsMs: 25_000, faults, data: undefined });
  const outcome = await run(options);
  assert.equal(outcome.violations.any, false, reportOf(options, outcome));
  assert.ok(outcome.counts.acknowledged > 0);
  assert.ok(outcome.faults.size >= 3, `only ${[...outcome.faults.keys()].join(', ')}`);
  assert.equal(outcome.kept, undefined);
  t.diagnostic(reportOf(options, outcome));
});

test('control: it is noticed when nodes keep the newest value and call it merging', { timeout: hangMs }, async (t) => {
  const data = await temporaryDirectory();
  try {
    const options = optionsFor(t, { faultsMs: 60_000, faults: [cut], data, control: 'newest-wins' });
    const outcome = await run(options);
    assert.ok(outcome.violations.counts.lost > 0, reportOf(options, outcome));
    assert.equal(outcome.kept, data);
    assert.ok(existsSync(`${data}/history`));
  } finally {
    await removeDirectory(data);
  }
});
