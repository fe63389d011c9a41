import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { canonicalNumber, type Json, JsonNumber, parseJson, printJson } from '../../cli/resolve/lossless-json.ts';
import { UnionImpossible, union } from '../../cli/resolve/union.ts';

/** A union of texts, as a text. */
function merged(first: string, ...rest: string[]): string {
  return printJson(union([parseJson(first), ...rest.map(parseJson)]));
}

test('arrays keep every element once, objects every member, deeply', () => {
  assert.equal(
    merged(
      '{ "items": ["apple", {"id": 1, "n": 2}], "note": "x" }',
      '{ "items": ["pear", {"n": 2, "id": 1}, "apple"], "more": {"a": [1]} }',
      '{ "more": {"a": [2], "b": null} }',
    ),
    '{"items":["apple",{"id":1,"n":2},"pear"],"note":"x","more":{"a":[1,2],"b":null}}',
  );
});

test('values that are no collections must agree, and where they do not is named', () => {
  assert.throws(
    () => merged('{"a":{"b":1}}', '{"a":{"b":2}}'),
    (error) => error instanceof UnionImpossible && error.path === '$.a.b' && /1 and 2/.test(error.message),
  );
  assert.throws(() => merged('[1]', '{"a":1}'), UnionImpossible);
});

test('a member called __proto__ is a member like any other', () => {
  assert.equal(merged('{"__proto__":["a"]}', '{"__proto__":["b"]}'), '{"__proto__":["a","b"]}');
});

test('numbers keep all their digits, and are told apart by them', () => {
  assert.equal(
    merged('{"ids":[9007199254740993,1.0]}', '{"ids":[9007199254740992,1,1e400,0.10]}'),
    '{"ids":[9007199254740993,1.0,9007199254740992,1e400,0.10]}',
  );
  assert.throws(
    () => merged('[{"n":1}]', '{"n":1}'),
    (error) => error instanceof UnionImpossible && /\[\{"n":1\}\] and \{"n":1\}/.test(error.message),
  );
  assert.throws(() => merged('9007199254740993', '9007199254740992'), UnionImpossible);
  assert.equal(merged('9007199254740993', '9007199254740993.0'), '9007199254740993');
});

test('spellings of one number have one canonical text', () => {
  const same = [
    ['100', '1e2', '100.00', '0.1E+3', '10000e-2'],
    ['0', '-0', '0.000', '0e99', '-0.0E-1'],
    ['-0.5', '-5e-1', '-50E-2'],
  ];
  for (const spellings of same) {
    assert.equal(new Set(spellings.map((source) => canonicalNumber(new JsonNumber(source)))).size, 1, spellings.join());
  }
  fc.assert(
    fc.property(fc.double({ noNaN: true, noDefaultInfinity: true }), (number) => {
      const text = canonicalNumber(new JsonNumber(JSON.stringify(number)));
      assert.equal(Number(text), number === 0 ? 0 : number);
    }),
  );
});

test('any JSON prints as it was read', () => {
  fc.assert(
    fc.property(fc.json(), (text) => {
      const compact = JSON.stringify(JSON.parse(text));
      assert.equal(printJson(parseJson(compact)), compact);
    }),
  );
});

/** JSON whose leaves are all arrays of small texts: any two of them merge. */
const leaf: fc.Arbitrary<Json> = fc.array(fc.constantFrom('0', '1', '2', '3'));
const mergeable: fc.Arbitrary<Json> = fc.dictionary(
  fc.constantFrom('a', 'b'),
  fc.dictionary(fc.constantFrom('x', 'y'), leaf),
);

/** Arrays as sets, members in order. */
function asSets(value: Json): unknown {
  if (Array.isArray(value)) return [...new Set(value)].sort();
  if (typeof value !== 'object' || value === null || value instanceof JsonNumber) return value;
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
