import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type Json, UnionImpossible, union } from '../../cli/resolve/union.ts';

test('arrays keep every element once, objects every member, deeply', () => {
  const merged = union([
    { items: ['apple', { id: 1, n: 2 }], note: 'x' },
    { items: ['pear', { n: 2, id: 1 }, 'apple'], more: { a: [1] } },
    { more: { a: [2], b: null } },
  ]);
  assert.deepEqual(JSON.parse(JSON.stringify(merged)), {
    items: ['apple', { id: 1, n: 2 }, 'pear'],
    note: 'x',
    more: { a: [1, 2], b: null },
  });
});

test('values that are no collections must agree, and where they do not is named', () => {
  assert.throws(
    () => union([{ a: { b: 1 } }, { a: { b: 2 } }]),
    (error) => error instanceof UnionImpossible && error.path === '$.a.b' && /1 and 2/.test(error.message),
  );
  assert.throws(() => union([[1], { a: 1 }]), UnionImpossible);
});

test('a member called __proto__ is a member like any other', () => {
  const merged = union([JSON.parse('{"__proto__":["a"]}'), JSON.parse('{"__proto__":["b"]}')]);
  assert.equal(JSON.stringify(merged), '{"__proto__":["a","b"]}');
});

/** JSON whose leaves are all arrays of small numbers: any two of them merge. */
const leaf: fc.Arbitrary<Json> = fc.array(fc.nat(5));
const mergeable: fc.Arbitrary<Json> = fc.dictionary(
  fc.constantFrom('a', 'b'),
  fc.dictionary(fc.constantFrom('x', 'y'), leaf),
);

/** Arrays as sets, members in order. */
function asSets(value: Json): unknown {
  if (Array.isArray(value)) return [...new Set(value)].sort();
  if (typeof value !== 'object' || value === null) return value;
  return Object.keys(value)
    .sort()
    .map((name) => [name, asSets(value[name] as Json)]);
}

test('the union is the same set in whatever order the siblings come, and merging again changes nothing', () => {
  fc.assert(
    fc.property(mergeable, mergeable, mergeable, (a, b, c) => {
      assert.deepEqual(asSets(union([a, b, c])), asSets(union([c, union([b, a])])));
      assert.deepEqual(asSets(union([a, a])), asSets(a));
    }),
  );
});
