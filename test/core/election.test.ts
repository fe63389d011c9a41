import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import * as election from '../../services/core/membership/election.ts';
import {
  createElection,
  type Election,
  HELD_MS,
  heldTerm,
  LEASE_MS,
  type Lease,
  LOOK_INTERVAL_MS,
  look,
  lost,
  written,
} from '../../services/core/membership/election.ts';

const free: Lease = { version: '1', holder: '', term: 0n };

/** Looks and writes, with nothing in between. */
function turn(election: Election, lease: Lease, now: number, ringTerm = 0n): [Election, Lease] {
  const [next, write] = look(election, lease, ringTerm, now);
  if (write === undefined) return [next, lease];
  return [written(next, write, now), { ...write, version: `${Number(lease.version) + 1}` }];
}

test('a lease that nobody holds is taken, with a term above those before it and that of the ring', () => {
  assert.equal(turn(createElection('a'), free, 0)[1].term, 1n);
  assert.equal(turn(createElection('a'), { ...free, term: 7n }, 0, 3n)[1].term, 8n);
  assert.equal(turn(createElection('a'), free, 0, 3n)[1].term, 4n);
});

test('who holds it renews it, and keeps its term', () => {
  const [holder, lease] = turn(createElection('a'), free, 0);
  const [renewed, after] = turn(holder, lease, HELD_MS - 1, 9n);
  assert.equal(after.term, lease.term);
  assert.equal(heldTerm(renewed, 2 * HELD_MS - 2), 1n);
  assert.equal(heldTerm(renewed, 2 * HELD_MS - 1), undefined);
});

test('another one waits until the lease has not changed for so long, by its own clock', () => {
  const [, lease] = turn(createElection('a'), free, 0);
  const [waiting, same] = turn(createElection('b'), lease, 1_000_000);
  assert.equal(same, lease);
  assert.equal(heldTerm(waiting, 1_000_000), undefined);
  assert.equal(turn(waiting, lease, 1_000_000 + LEASE_MS - 1)[1], lease);
  assert.deepEqual(turn(waiting, lease, 1_000_000 + LEASE_MS)[1], { version: '3', holder: 'b', term: 2n });
  // Renewed meanwhile: it waits anew.
  assert.equal(turn(waiting, { ...lease, version: '9' }, 1_000_000 + LEASE_MS)[1].holder, 'a');
});

test('who sees another one in its place holds nothing from then on', () => {
  const [holder] = turn(createElection('a'), free, 0);
  assert.equal(heldTerm(look(holder, { version: '5', holder: 'b', term: 2n }, 0n, 1)[0], 1), undefined);
  assert.equal(heldTerm(lost(holder), 1), undefined);
});

test('a write whose answer was lost is found again', () => {
  const [next, write] = look(createElection('a'), free, 0n, 0);
  assert.ok(write);
  const [, renewal] = look(next, { ...write, version: '2' }, 0n, LOOK_INTERVAL_MS);
  assert.deepEqual(renewal, write);
});

type Decisions = Pick<typeof election, 'look' | 'written' | 'heldTerm'>;

/** Three that read, stall and write in any order, at any pace of time: the lease is replaced only as it was read. */
const action = fc.record({
  who: fc.nat(2),
  what: fc.constantFrom('read', 'write', 'write', 'resign'),
  after: fc.oneof(fc.nat(3_000), fc.nat(LEASE_MS * 2)),
  ringTerm: fc.nat(5),
});

function violation(decisions: Decisions): string | undefined {
  const model = fc.property(fc.array(action, { maxLength: 200, size: 'max' }), (actions) => {
    let lease = free;
    let now = 0;
    let elections = ['a', 'b', 'c'].map(createElection);
    const holders = new Map<bigint, string>();
    const waiting = new Map<number, { from: string; write: election.LeaseWrite; begun: number }>();
    for (const { who, what, after, ringTerm } of actions) {
      now += after;
      let own = elections[who] as Election;
      const kept = waiting.get(who);
      if (what === 'read') {
        const [next, write] = decisions.look(own, lease, BigInt(ringTerm), now);
        own = next;
        waiting.delete(who);
        if (write !== undefined) waiting.set(who, { from: lease.version, write, begun: now });
      } else if (what === 'write' && kept !== undefined) {
        waiting.delete(who);
        if (kept.from === lease.version) {
          lease = { ...kept.write, version: `${Number(lease.version) + 1}` };
          own = decisions.written(own, kept.write, kept.begun);
        } else own = lost(own);
      } else if (what === 'resign' && decisions.heldTerm(own, now) !== undefined) {
        if (lease.holder === own.self) lease = { ...lease, holder: '', version: `${Number(lease.version) + 1}` };
        own = lost(own);
      }
      elections = elections.with(who, own);
      const holding = elections.filter((one) => decisions.heldTerm(one, now) !== undefined);
      assert.ok(holding.length <= 1, holding.map(({ self }) => self).join(' and '));
      for (const { self, held } of holding) {
        const term = held?.term as bigint;
        assert.equal(holders.get(term) ?? self, self, `term ${term} was held by two`);
        holders.set(term, self);
      }
    }
  });
  return fc.defaultReportMessage(fc.check(model, { numRuns: 300 }));
}

test('there is never more than one holder, and no term is held twice', () => {
  assert.equal(violation(election), undefined);
});

const broken: readonly (readonly [fault: string, decisions: Partial<Decisions>])[] = [
  [
    'a term is kept by who takes the lease over',
    {
      look(own, lease, ringTerm, now) {
        const [next, write] = election.look(own, lease, ringTerm, now);
        return [next, write && { ...write, term: lease.term }];
      },
    },
  ],
  ['a holder counts for longer than others wait', { heldTerm: ({ held }) => held?.term }],
  [
    'a holder counts from later than when it began to write',
    { written: (own, write, begun) => election.written(own, write, begun + 4 * LEASE_MS) },
  ],
  [
    'a lease is taken from whoever has it',
    {
      look(own, lease) {
        return [
          { ...own, held: undefined },
          { holder: own.self, term: lease.term + 1n },
        ];
      },
    },
  ],
];

for (const [fault, decisions] of broken) {
  test(`built wrong so that ${fault}, the model notices`, () => {
    assert.notEqual(violation({ ...election, ...decisions }), undefined);
  });
}
