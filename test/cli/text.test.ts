import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import { bytes, bytesField, duration, json, preview, printable, shellWord, table } from '../../cli/output.ts';

test('a table pads its columns to the widest cell and leaves no trailing spaces', () => {
  const text = table(
    [{ title: 'NAME' }, { title: 'N', align: 'right' }, { title: 'LAST' }],
    [
      ['a', '1', 'x'],
      ['longer', '1,000', ''],
    ],
  );
  assert.equal(text, ['NAME        N  LAST', 'a           1  x', 'longer  1,000', ''].join('\n'));
});

test('a table counts the columns that a terminal shows, not code units', () => {
  const text = table(
    [{ title: 'CITY' }, { title: 'Z' }],
    [
      ['東京', '1'],
      ['Zu\u0308rich', '2'],
    ],
  );
  assert.deepEqual(text.split('\n'), ['CITY    Z', '東京    1', 'Zu\u0308rich  2', '']);
});

test('control characters and those that turn text around never reach a terminal', () => {
  assert.equal(printable('a\x1b[2Jb\r\n\x00\u202e'), 'a\\x1b[2Jb\\x0d\\n\\x00\\u202e');
  assert.equal(printable('naïve 東京'), 'naïve 東京');
  assert.doesNotMatch(table([{ title: 'X' }], [['\x1b]0;title\x07']]).replaceAll('\n', ''), /\p{Cc}/u);
});

test('a word for the shell is one word of the shell', () => {
  for (const text of ['cart-1', '', "it's", 'a b', '$(id)`id`', '*', 'ü', '{country}/{name}']) {
    assert.equal(execFileSync('/bin/sh', ['-c', `printf %s ${shellWord(text)}`], { encoding: 'utf8' }), text);
  }
});

test('bytes are a text where they are UTF-8, else base64', () => {
  assert.deepEqual(bytesField('value', Buffer.from('grüezi')), { value: 'grüezi' });
  assert.deepEqual(bytesField('value', Buffer.from([0xff, 0x00])), { valueBase64: '/wA=' });
  assert.deepEqual(bytesField('value', Buffer.from('\ufeffx')), { value: '\ufeffx' });
});

test('a preview shows text, hexadecimal or nothing, and cuts with the size', () => {
  assert.equal(preview(Buffer.from('abc'), 10), 'abc');
  assert.equal(preview(Buffer.from([0xff, 1]), 10), '0xff01');
  assert.equal(preview(Buffer.alloc(0), 10), '(empty)');
  assert.equal(preview(Buffer.from('x'.repeat(1200)), 4), 'xxxx… (1,200 bytes)');
});

test('JSON writes 64-bit numbers exactly, and bytes as base64', () => {
  const text = json({ small: 7n, large: 2n ** 63n, bytes: Buffer.from('hi'), array: new Uint8Array([1]) });
  assert.equal(text, '{"small":7,"large":"9223372036854775808","bytes":"aGk=","array":"AQ=="}\n');
});

test('sizes and durations are in units that a person reads', () => {
  assert.deepEqual([0, 1023, 1536, 5 * 1024 ** 3].map(bytes), ['0 B', '1023 B', '1.5 KiB', '5.0 GiB']);
  assert.deepEqual([0.04, 9.96, 59.6, 83, 3700, 90_000, Infinity].map(duration), [
    '0.0 s',
    '10 s',
    '1 min 0 s',
    '1 min 23 s',
    '1 h 1 min',
    '1 d 1 h',
    '?',
  ]);
});
