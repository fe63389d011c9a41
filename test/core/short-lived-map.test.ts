import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ShortLivedMap } from '../../services/core/short-lived-map.ts';
import { heapLeftBy } from './heap-left.ts';

test('it has what a Map has, in the same order', () => {
  const key = fc.nat(5);
  const step = fc.oneof(
    fc.record({ set: key, value: fc.option(fc.nat(), { nil: undefined }) }),
    fc.record({ take: key }),
    fc.constant('takeAll' as const),
  );
  fc.assert(
    fc.property(fc.array(step), (steps) => {
      const map = new ShortLivedMap<number, number | undefined>();
      const model = new Map<number, number | undefined>();
      for (const each of steps) {
        if (each === 'takeAll') {
          assert.deepEqual(map.takeAll(), [...model.values()]);
          model.clear();
        } else if ('set' in each) {
          map.set(each.set, each.value);
          model.set(each.set, each.value);
        } else {
          assert.equal(map.take(each.take), model.get(each.take));
          model.delete(each.take);
        }
        assert.deepEqual(map.values(), [...model.values()]);
        assert.equal(map.size, model.size);
        for (let at = 0; at <= 5; at++) {
          assert.equal(map.has(at), model.has(at));
          assert.equal(map.get(at), model.get(at));
        }
      }
    }),
  );
});

/** Puts them in, and takes each out when 20 have come after it. */
function passing(set: (key: number, value: object) => void, take: (key: number) => void) {
  let next = 0;
  return (count: number) => {
    for (const end = next + count; next < end; next++) {
      set(next, { payload: new Array(250).fill(next) });
      take(next - 20);
    }
  };
}

test('I1: what was taken out is gone with the next scavenge, as it would not be from a Map', () => {
  const short = new ShortLivedMap<number, object>();
  const map = new Map<number, object>();
  // 40 MB each.
  const left = heapLeftBy(
    passing(
      (key, value) => short.set(key, value),
      (key) => short.take(key),
    ),
    20_000,
  );
  const leftByMap = heapLeftBy(
    passing(
      (key, value) => map.set(key, value),
      (key) => map.delete(key),
    ),
    20_000,
  );
  assert.ok(left < 5_000_000, `${left} bytes are left`);
  assert.ok(leftByMap > 10_000_000, `a Map leaves ${leftByMap} bytes: this one may have no use any more`);
});
