import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { KeyMissing, keyTemplate, TemplateInvalid } from '../../cli/load/key-template.ts';

test('a plain name is a field', () => {
  assert.equal(keyTemplate('id').keyOf({ id: 'a-1' }), 'a-1');
  assert.equal(keyTemplate('id').keyOf({ id: 7 }), '7');
  assert.equal(keyTemplate('ok').keyOf({ ok: false }), 'false');
  assert.equal(keyTemplate('id').keyOf({ id: '' }), '');
});

test('dots lead into fields of fields and elements of arrays', () => {
  assert.equal(keyTemplate('a.b.1').keyOf({ a: { b: ['x', 'y'] } }), 'y');
});

test('a field whose own name has a dot is meant before one inside another', () => {
  assert.equal(keyTemplate('a.b').keyOf({ 'a.b': 'outer', a: { b: 'inner' } }), 'outer');
});

test('a template puts fields and text together, and doubled braces are braces', () => {
  const record = { country: 'CH', name: 'Zürich', at: { lat: '47.3' } };
  assert.equal(keyTemplate('{country}/{name}/{at.lat}').keyOf(record), 'CH/Zürich/47.3');
  assert.equal(keyTemplate('{{{country}}}').keyOf(record), '{CH}');
});

test('a field that is missing, null or a collection makes no key, and is named', () => {
  for (const [record, why] of [
    [{}, 'missing'],
    [{ id: null }, 'null'],
    [{ id: { a: 1 } }, 'no text'],
    [null, 'missing'],
    [7, 'missing'],
  ] as const) {
    assert.throws(
      () => keyTemplate('id').keyOf(record),
      (error) => error instanceof KeyMissing && error.message === `field 'id' is ${why}`,
    );
  }
});

test('what every object inherits is not one of its fields', () => {
  for (const path of ['constructor', 'toString', '__proto__', 'constructor.name']) {
    assert.throws(() => keyTemplate(path).keyOf({}), KeyMissing, path);
  }
});

test('a template with a lone brace, without a field, or empty is refused', () => {
  for (const text of ['', '{', '}', '{}', 'a{b', 'a}b', '{a{b}}', '{{a}}', '{{']) {
    assert.throws(() => keyTemplate(text), TemplateInvalid, text);
  }
});

test('any text around a field comes out as it went in once its braces are doubled', () => {
  fc.assert(
    fc.property(fc.string(), fc.string(), fc.string(), (before, value, after) => {
      const literal = (text: string) => text.replace(/[{}]/g, '$&$&');
      const template = keyTemplate(`${literal(before)}{field}${literal(after)}`);
      assert.equal(template.keyOf({ field: value }), before + value + after);
    }),
  );
});
