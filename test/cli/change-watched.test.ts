/** What a command says on standard error while it waits for a change of the ring; a claimant of straw, and time of straw. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { changeDone, goalReached, requireReached } from '../../cli/ring-change.ts';
import type { CartwheelClient } from '../../client/index.ts';
import { ChangeEnd, ChangeStatus } from '../../proto/gen/cartwheel/admin/v1/admin.ts';

const up = 2;
const joining = 1;
const left = 4;

type ChangeNow = { waitingFor?: string } & Parameters<typeof ChangeStatus.fromPartial>[0];

interface Watched {
  readonly lines: readonly string[];
  readonly error: unknown;
}

/** Runs `work` in a time that passes as fast as it can. */
async function watched(t: TestContext, work: (seconds: () => number) => Promise<void>): Promise<Watched> {
  const lines: string[] = [];
  let now = 0;
  t.mock.timers.enable({ apis: ['setTimeout'] });
  t.mock.method(performance, 'now', () => now);
  t.mock.method(process.stderr, 'write', (line: string) => lines.push(line.trim()) > 0);
  let isOver = false;
  let error: unknown;
  void work(() => now / 1_000)
    .catch((thrown: unknown) => {
      error = thrown;
    })
    .finally(() => {
      isOver = true;
    });
  while (!isOver) {
    for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve));
    now += 500;
    t.mock.timers.tick(500);
  }
  t.mock.reset();
  return { lines, error };
}

/** `changeAt`: of the plan p, so many seconds after the command began to wait; undefined: it is done. */
function changeWatched(
  t: TestContext,
  changeAt: (seconds: number) => ChangeNow | undefined,
  stalledAfterMs?: number,
): Promise<Watched> {
  return watched(t, async (seconds) => {
    const status = async () => {
      const { waitingFor = '', ...change } = changeAt(seconds()) ?? {};
      const isOver = changeAt(seconds()) === undefined;
      const ended = isOver ? [{ planId: 'p', end: ChangeEnd.DONE, replacedBy: '' }] : [];
      const now = isOver ? undefined : ChangeStatus.fromPartial({ planId: 'p', ...change });
      return { claimant: { waitingFor, change: now, ended } };
    };
    await changeDone({ changes: { status } } as unknown as CartwheelClient, 'p', { stalledAfterMs });
  });
}

const moving = { partitionsLeft: 8, partitionsInFlight: 4, bytes: 4_096n };

test('how far it is is said at once, every five seconds, and at the end how long it took', async (t) => {
  const { lines, error } = await changeWatched(t, (seconds) =>
    seconds < 12 ? { ...moving, bytesMoved: BigInt(Math.round(seconds) * 100), etaMs: 9_000n } : undefined,
  );
  assert.equal(error, undefined);
  assert.deepEqual(lines, [
    '8 partitions left, 4 in flight; about 0 B of 4.0 KiB moved; 9.0 s to go',
    '8 partitions left, 4 in flight; about 500 B of 4.0 KiB moved; 9.0 s to go',
    '8 partitions left, 4 in flight; about 1000 B of 4.0 KiB moved; 9.0 s to go',
    'done after 12 s',
  ]);
});

test('a doubling says how many partitions there are to be, and of no bytes', async (t) => {
  const doubling = { partitionsLeft: 64, partitionsAfter: 128, waitingFor: 'n1:7411 to say which ring is known there' };
  const { lines } = await changeWatched(t, (seconds) => (seconds < 1 ? doubling : undefined));
  assert.equal(lines[0], '64 partitions to become 128; waiting for n1:7411 to say which ring is known there');
});

test('where no bytes are to be moved none are named', async (t) => {
  const { lines } = await changeWatched(t, (seconds) => (seconds < 1 ? { ...moving, bytes: 0n } : undefined));
  assert.equal(lines[0], '8 partitions left, 4 in flight');
});

test('where it has come no further for a minute, what can be done is said, once, and again when it stops once more', async (t) => {
  const { lines } = await changeWatched(t, (seconds) => {
    if (seconds > 250) return undefined;
    return { ...moving, bytesMoved: seconds < 100 ? 0n : 10n, waitingFor: 'n1:7411 to pull 4 partitions' };
  });
  const told = lines.filter((line) => line.startsWith('no further for'));
  assert.deepEqual(told, [told[0], told[0]]);
  assert.match(
    told[0] ?? '',
    /^no further for 1 min 0 s: .*`cartwheel tasks`.*`cartwheel ring plan --down NODE`.*`cartwheel ring rollback`/,
  );
});

test('one of which bytes move comes further, however long its partitions take', async (t) => {
  const long = (seconds: number) => ({ ...moving, bytesMoved: BigInt(Math.round(seconds)) });
  const { lines, error } = await changeWatched(t, (seconds) => (seconds < 300 ? long(seconds) : undefined), 30_000);
  assert.equal(error, undefined);
  assert.ok(!lines.some((line) => line.startsWith('no further')));
});

test('a node that has not said yet that it is up is named while it is waited for', async (t) => {
  const { lines, error } = await watched(t, async (seconds) => {
    const status = async () => ({ members: [{ id: 'n', status: seconds() < 6 ? joining : up }] });
    const nodes = [{ id: 'n', address: 'n:7411', status: up }];
    await requireReached({ changes: { status } } as unknown as CartwheelClient, { nodes } as never);
  });
  assert.equal(error, undefined);
  assert.deepEqual(lines, ['waiting up to 10 s for n:7411 to say that it is up']);
});

/** Of two changes, p and q, of which q takes p in after a second: q and its nodes after so many seconds more. */
function takenIn(
  t: TestContext,
  end: ChangeEnd,
  statusAtEnd: number,
  node: { status: number; partitionsBefore: number; partitionsAfter: number },
): Promise<Watched> {
  return watched(t, async (seconds) => {
    const status = async () => {
      const replaced = { planId: 'p', end: ChangeEnd.REPLACED, replacedBy: 'q' };
      const isOver = seconds() > 3;
      const planId = seconds() < 1 ? 'p' : 'q';
      const ended = [...(planId === 'q' ? [replaced] : []), ...(isOver ? [{ planId: 'q', end, replacedBy: '' }] : [])];
      const change = isOver ? undefined : ChangeStatus.fromPartial({ ...moving, planId });
      const members = [{ id: 'n', status: isOver ? statusAtEnd : up }];
      return { claimant: { waitingFor: '', change, ended }, members };
    };
    const nodes = [{ id: 'n', address: 'n:7411', ...node }];
    await goalReached({ changes: { status } } as unknown as CartwheelClient, { planId: 'p', nodes } as never);
  });
}

const leave = { status: left, partitionsBefore: 8, partitionsAfter: 0 };
const join = { status: up, partitionsBefore: 0, partitionsAfter: 8 };

test('a change that another one takes in is followed to the end of that', async (t) => {
  for (const node of [leave, join]) {
    const { lines, error } = await takenIn(t, ChangeEnd.DONE, node.status, node);
    assert.equal(error, undefined);
    assert.match(lines[1] ?? '', /^another change, q, has taken this one in/);
    assert.match(lines.at(-1) ?? '', /^done after 3/);
  }
});

test('a change whose goal the one that took it in turned round, or that was rolled back with it, is not said to be done', async (t) => {
  for (const [end, statusAtEnd, node, said] of [
    [ChangeEnd.DONE, up, leave, /n:7411 was to be left, and is up/],
    [ChangeEnd.DONE, left, join, /n:7411 was to be up, and is left/],
    [ChangeEnd.ROLLED_BACK, up, leave, /the change was rolled back/],
  ] as const) {
    const { error } = await takenIn(t, end, statusAtEnd, node);
    assert.match(String(error), said);
  }
});
