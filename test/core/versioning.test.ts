/**
 * The laws of records, over states that histories can reach (versioning-model.ts): P2, P3, P11, P14.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  type CausalContext,
  compareDots,
  contains,
  emptyContext,
  includes,
  join,
  lastCounter,
  printDot,
  sameDots,
  withDot,
} from '../../services/core/versioning/causal-context.ts';
import {
  answerContext,
  clockEntriesMax,
  cut,
  detachedDotsMax,
  emptyRecord,
  heightOf,
  type KeyRecord,
  merge,
  put,
  remove,
  siblingOfRequest,
  visibleSiblings,
} from '../../services/core/versioning/record.ts';
import {
  dotsOf,
  isWithin,
  mergeSets,
  minus,
  recordProblem,
  run,
  shapeProblem,
  siblingDots,
  steps,
  union,
  withRequestIds,
} from './versioning-model.ts';

const entriesMax = fc.constantFrom(2, 3, clockEntriesMax);
const history = fc.tuple(steps, entriesMax).map(([list, max]) => run(list, max));
const picks = fc.tuple(fc.nat(), fc.nat(), fc.nat());

/** Three states of one history, whoever held them and whenever. */
const threeStates = fc.tuple(history, picks).map(([{ states }, indexes]) => {
  return indexes.map((i) => states[i % states.length] as KeyRecord) as [KeyRecord, KeyRecord, KeyRecord];
});

const threeContexts = fc.tuple(history, picks).map(([{ contexts, states }, indexes]) => {
  const all = [...contexts, ...states.map(({ clock }) => clock)];
  return indexes.map((i) => all[i % all.length] as CausalContext) as [CausalContext, CausalContext, CausalContext];
});

test('merge is commutative, heights included', () => {
  fc.assert(
    fc.property(threeStates, ([a, b]) => {
      assert.deepEqual(merge(a, b), merge(b, a));
    }),
    { numRuns: 300 },
  );
});

test('merge is associative, heights included', () => {
  fc.assert(
    fc.property(threeStates, ([a, b, c]) => {
      assert.deepEqual(merge(merge(a, b), c), merge(a, merge(b, c)));
    }),
    { numRuns: 300 },
  );
});

test('merge is idempotent, and what is merged already changes nothing', () => {
  fc.assert(
    fc.property(threeStates, ([a, b]) => {
      const copy = structuredClone(a);
      assert.equal(merge(a, copy), a);
      const both = merge(a, b);
      assert.equal(merge(both, a), both);
      assert.equal(merge(both, b), both);
    }),
    { numRuns: 300 },
  );
});

test('merge does what its definition on plain sets of dots says', () => {
  fc.assert(
    fc.property(threeStates, ([a, b]) => {
      const merged = merge(a, b);
      const wanted = mergeSets(a, b);
      assert.deepEqual(siblingDots(merged), wanted.siblings);
      assert.deepEqual(dotsOf(merged.clock), wanted.clock);
      assert.equal(heightOf(merged.clock), Math.max(heightOf(a.clock), heightOf(b.clock)));
    }),
    { numRuns: 300 },
  );
});

test('merge and join return one of their arguments where that is the result already', () => {
  fc.assert(
    fc.property(threeStates, ([a, b]) => {
      for (const [merged, one, other] of [
        [merge(a, b), a, b] as const,
        [join(a.clock, b.clock), a.clock, b.clock] as const,
      ]) {
        const isOne = isDeepEqual(merged, one);
        const isOther = isDeepEqual(merged, other);
        assert.equal(merged === one || merged === other, isOne || isOther);
      }
    }),
    { numRuns: 100 },
  );
});

test('join is a union: commutative, associative, idempotent, equal to a plain set of dots', () => {
  fc.assert(
    fc.property(threeContexts, ([a, b, c]) => {
      assert.deepEqual(join(a, b), join(b, a));
      assert.deepEqual(join(join(a, b), c), join(a, join(b, c)));
      assert.equal(join(a, structuredClone(a)), a);
      const both = union(dotsOf(a), dotsOf(b));
      assert.deepEqual(dotsOf(join(a, b)), both);
      assert.equal(shapeProblem(join(a, b)), undefined);
      assert.equal(includes(a, b), isWithin(dotsOf(b), dotsOf(a)));
      assert.ok(includes(join(a, b), a) && includes(join(a, b), b));
    }),
    { numRuns: 300 },
  );
});

test('single dots in any order make the same packed context as a plain set says', () => {
  const dots = fc.array(
    fc.record({ actor: fc.constantFrom(0n, 7n, 2n ** 64n - 1n), counter: fc.integer({ min: 1, max: 12 }) }),
  );
  fc.assert(
    fc.property(
      dots,
      fc.record({ actor: fc.constant(7n), counter: fc.integer({ min: 1, max: 14 }) }),
      (list, probe) => {
        const context = list.reduce((sum: CausalContext, dot) => withDot(sum, dot), emptyContext);
        assert.equal(shapeProblem(context), undefined);
        assert.deepEqual(dotsOf(context), new Set(list.map(printDot)));
        assert.equal(
          contains(context, probe),
          list.some((dot) => compareDots(dot, probe) === 0),
        );
        const counters = list.filter(({ actor }) => actor === probe.actor).map(({ counter }) => counter);
        assert.equal(lastCounter(context, probe.actor), Math.max(0, ...counters));
        const sorted = list.toSorted(compareDots).reduce((sum: CausalContext, dot) => withDot(sum, dot), emptyContext);
        assert.deepEqual(sorted, context);
      },
    ),
  );
});

test('P2: a put or delete removes exactly the siblings that its context covers, and knows the context afterwards', () => {
  fc.assert(
    fc.property(history, ({ writes }) => {
      for (const { before, after, context, dot, sibling } of writes) {
        const covered = dotsOf(context);
        const wanted = minus(siblingDots(before), covered);
        if (sibling !== undefined) wanted.add(printDot(dot));
        assert.deepEqual(siblingDots(after), wanted);
        assert.deepEqual(dotsOf(after.clock), union(dotsOf(before.clock), covered).add(printDot(dot)));
        for (const kept of before.siblings)
          if (wanted.has(printDot(kept.dot))) assert.ok(after.siblings.includes(kept));
        if (sibling !== undefined) assert.ok(after.siblings.includes(sibling));
      }
    }),
    { numRuns: 200 },
  );
});

test('a put raises the height by one, for the entries that it moves or removes a value of, and for no other', () => {
  fc.assert(
    fc.property(history, ({ writes }) => {
      for (const { before, after } of writes) {
        const height = heightOf(before.clock) + 1;
        assert.equal(heightOf(after.clock), height);
        for (const entry of after.clock) {
          const old = before.clock.find(({ actor }) => actor === entry.actor);
          const lives = ({ siblings }: KeyRecord) => siblings.filter(({ dot }) => dot.actor === entry.actor).length;
          const same = old !== undefined && sameDots(old, entry) && lives(before) === lives(after);
          assert.equal(entry.height, same ? old.height : height);
        }
      }
    }),
    { numRuns: 100 },
  );
});

test('records and contexts keep their packed shape through every operation', () => {
  fc.assert(
    fc.property(history, ({ states, contexts, writes }) => {
      for (const record of states) assert.equal(recordProblem(record), undefined);
      for (const { after } of writes) assert.equal(recordProblem(after), undefined);
      for (const context of contexts) assert.equal(shapeProblem(context), undefined);
    }),
    { numRuns: 100 },
  );
});

test('no dot names two writes, whatever crashes, is lost, dropped or restarted', () => {
  fc.assert(
    fc.property(history, ({ writes }) => {
      const dots = writes.map(({ dot }) => printDot(dot));
      assert.equal(new Set(dots).size, dots.length);
    }),
    { numRuns: 300 },
  );
});

test('P3: a value stays until a client that has seen it replaces it, truncation or not', () => {
  fc.assert(
    fc.property(history, ({ states, mustLive }) => {
      const everything = states.reduce(merge, emptyRecord);
      const missing = minus(mustLive, siblingDots(everything));
      assert.deepEqual(missing, new Set());
    }),
    { numRuns: 400 },
  );
});

test('P3: a cut loses no sibling and no dot of a living one, and never what this node mints under', () => {
  fc.assert(
    fc.property(fc.tuple(steps, entriesMax), ([list, max]) => {
      for (const { before, after, kept, actor, entriesCut } of run(list, max).writes) {
        assert.deepEqual(kept.siblings, after.siblings);
        const living = siblingDots(after);
        assert.ok(isWithin(living, dotsOf(kept.clock)));
        assert.deepEqual(
          kept.clock.find((entry) => entry.actor === actor),
          after.clock.find((entry) => entry.actor === actor),
        );
        const learned = minus(dotsOf(after.clock), dotsOf(before.clock));
        assert.ok(isWithin(learned, dotsOf(kept.clock)), 'what the write has learned stays');
        assert.ok(isWithin(minus(siblingDots(before), living), dotsOf(kept.clock)), 'what it has removed stays');
        const pinned = new Set([...before.siblings, ...after.siblings].map(({ dot }) => dot.actor));
        for (const entry of after.clock) {
          const known = before.clock.find(({ actor }) => actor === entry.actor);
          if (known === undefined || !sameDots(known, entry)) pinned.add(entry.actor);
        }
        const free = kept.clock.filter((entry) => !pinned.has(entry.actor));
        assert.ok(free.length <= max, `${free.length} entries besides those of siblings, the limit is ${max}`);
        assert.equal(entriesCut, after.clock.length - kept.clock.length);
        assert.ok(isWithin(dotsOf(kept.clock), dotsOf(after.clock)));
      }
    }),
    { numRuns: 200 },
  );
});

test('a cut takes the entries that have not moved for the most puts', () => {
  const entry = (actor: bigint, height: number) => ({ actor, upTo: 1, detached: [], height });
  const clock = Array.from({ length: 14 }, (_, i) => entry(BigInt(i), 100 - i));
  const before: KeyRecord = { clock, siblings: [] };
  const { record, entriesCut } = cut(before, before, 13n);
  assert.equal(entriesCut, 4);
  assert.deepEqual(
    record.clock.map(({ actor }) => actor),
    [0n, 1n, 2n, 3n, 4n, 5n, 6n, 7n, 8n, 13n],
  );
});

test('P2: a cut takes neither an entry nor a detached dot that this write has learned from its context', () => {
  const single = (actor: bigint) => ({ actor, upTo: 1, detached: [], height: 0 });
  const known = Array.from({ length: 12 }, (_, i) => ({ ...single(BigInt(100 + i)), height: i + 1 }));
  const before: KeyRecord = { clock: known, siblings: [] };
  const detached = Array.from({ length: detachedDotsMax + 20 }, (_, i) => 2 + 2 * i);
  const context = [
    ...Array.from({ length: 15 }, (_, i) => single(BigInt(i))),
    { actor: 50n, upTo: 0, detached, height: 0 },
  ];
  const dot = { actor: 200n, counter: 1 };
  const { record, entriesCut } = cut(before, remove(before, context, dot), 200n);
  assert.ok(includes(record.clock, context));
  assert.equal(entriesCut, 2, 'of the twelve that it knew already ten are left');
  // A later write may.
  const later = cut(record, remove(record, [], { actor: 200n, counter: 2 }), 200n);
  assert.equal(later.record.clock.length, clockEntriesMax + 1);
  assert.ok(dotsOf(later.record.clock).size <= detachedDotsMax + clockEntriesMax + 2);
});

test('P14: a clock keeps at most the capped number of detached dots, those of living siblings besides', () => {
  const siblings = [2, 40, 300].map((counter) => {
    return { dot: { actor: 5n, counter }, requestId: new Uint8Array(0), writtenAtMs: 0, value: new Uint8Array(1) };
  });
  const detached = Array.from({ length: 150 }, (_, i) => 2 + 2 * i);
  const before: KeyRecord = { clock: [{ actor: 5n, upTo: 0, detached, height: 1 }], siblings };
  const { record, entriesCut } = cut(before, before, 5n);
  const kept = dotsOf(record.clock);
  assert.equal(entriesCut, detached.length - detachedDotsMax, 'each may show an old sibling again, and is counted');
  assert.equal(kept.size, detachedDotsMax);
  assert.equal(recordProblem(record), undefined);
  assert.ok(kept.has(printDot({ actor: 5n, counter: 2 })), 'the least counter goes first, but not a living one');
});

test('P7: the context that a put answers with holds the dots of its request and the new one, nothing unseen', () => {
  fc.assert(
    fc.property(history, ({ writes }) => {
      for (const { context, dot, answer } of writes) {
        assert.deepEqual(dotsOf(answer), dotsOf(context).add(printDot(dot)));
      }
    }),
    { numRuns: 200 },
  );
});

test('two blind writers at one coordinator do not cover each other', () => {
  const sibling = (counter: number) => {
    return {
      dot: { actor: 9n, counter },
      requestId: new Uint8Array(0),
      writtenAtMs: 0,
      value: new Uint8Array([counter]),
    };
  };
  const first = put(emptyRecord, emptyContext, sibling(1));
  const second = put(first, emptyContext, sibling(2));
  const answer = answerContext(emptyContext, { actor: 9n, counter: 2 });
  assert.deepEqual(
    siblingDots(put(second, answer, sibling(3))),
    new Set([1, 3].map((counter) => printDot({ actor: 9n, counter }))),
  );
});

test('P14: a client that writes for ever without reading has a bounded context, its newest write in it', () => {
  let context = emptyContext;
  for (let counter = 2; counter < 600; counter += 2) {
    const dot = { actor: BigInt(counter % 3), counter };
    const before = dotsOf(context);
    context = answerContext(context, dot);
    assert.ok(contains(context, dot));
    assert.ok(isWithin(dotsOf(context), before.add(printDot(dot))), 'forgetting is allowed, inventing is not');
    assert.ok(dotsOf(context).size <= detachedDotsMax);
    assert.equal(shapeProblem(context), undefined);
  }
});

test('a reader sees one of the attempts of a write, the same whatever the order of merges', () => {
  const ids = fc.array(fc.nat(3), { minLength: 1, maxLength: 8 });
  fc.assert(
    fc.property(threeStates, ids, ([a, b, c], list) => {
      // 0 stands for a client that gave none.
      const idOf = ({ actor, counter }: { actor: bigint; counter: number }) => {
        const id = list[(Number(actor % 97n) + counter) % list.length] as number;
        return id === 0 ? new Uint8Array(0) : new Uint8Array([id]);
      };
      const given = ({ clock, siblings }: KeyRecord) => ({
        clock,
        siblings: siblings.map((sibling) => ({ ...sibling, value: new Uint8Array([sibling.dot.counter % 2]) })),
      });
      const [x, y, z] = [a, b, c].map((record) => withRequestIds(given(record), idOf)) as [
        KeyRecord,
        KeyRecord,
        KeyRecord,
      ];
      const seen = visibleSiblings(merge(merge(x, y), z), 0).map(({ dot }) => printDot(dot));
      assert.deepEqual(
        visibleSiblings(merge(z, merge(y, x)), 0).map(({ dot }) => printDot(dot)),
        seen,
      );
      const all = merge(merge(x, y), z).siblings;
      const groups = Map.groupBy(all, ({ requestId, value, dot }) => {
        return requestId.length === 0 ? printDot(dot) : `${requestId[0]} ${value[0]}`;
      });
      assert.deepEqual(
        seen,
        [...groups.values()].map(([least]) => printDot((least as (typeof all)[number]).dot)),
      );
    }),
    { numRuns: 200 },
  );
});

test('the sibling of a request is found by its id, and an empty id is none', () => {
  const sibling = {
    dot: { actor: 1n, counter: 1 },
    requestId: new Uint8Array([4, 2]),
    writtenAtMs: 0,
    value: new Uint8Array(0),
  };
  const record = put(put(emptyRecord, emptyContext, sibling), emptyContext, {
    ...sibling,
    dot: { actor: 1n, counter: 2 },
    requestId: new Uint8Array(0),
  });
  assert.equal(siblingOfRequest(record, new Uint8Array([4, 2])), sibling);
  assert.equal(siblingOfRequest(record, new Uint8Array([4])), undefined);
  assert.equal(siblingOfRequest(record, new Uint8Array(0)), undefined);
});

function isDeepEqual(a: unknown, b: unknown): boolean {
  try {
    assert.deepEqual(a, b);
    return true;
  } catch {
    return false;
  }
}
