import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import fc from 'fast-check';
import { openRecords } from '../../cli/load/records.ts';
import { Problem } from '../../cli/problem.ts';

const scratch = mkdtempSync(join(tmpdir(), 'cartwheel-records-'));
after(() => rmSync(scratch, { recursive: true }));
const path = join(scratch, 'records');

async function read(text: string | Buffer): Promise<unknown[]> {
  writeFileSync(path, text);
  const file = await openRecords(path);
  const values: unknown[] = [];
  try {
    for await (const { number, value } of file.records()) {
      values.push(value);
      assert.equal(number, values.length);
    }
    assert.equal(file.bytesRead(), file.size);
  } finally {
    await file.close();
  }
  return values;
}

const problem = (pattern: RegExp) => (error: unknown) => error instanceof Problem && pattern.test(error.message);

test('an array and lines of the same records read the same, however they are spelled', async () => {
  const records = [{ id: 1, name: 'Zürich', nested: { a: [null, true, 1.5e3] } }, 'text', 7, null, [1], {}];
  const expected = JSON.parse(JSON.stringify(records));
  assert.deepEqual(await read(JSON.stringify(records)), expected);
  assert.deepEqual(await read(`\ufeff \n\t${JSON.stringify(records, undefined, 4)}\n`), expected);
  const lines = records.filter((record) => !Array.isArray(record)).map((record) => JSON.stringify(record));
  const expectedLines = lines.map((line) => JSON.parse(line));
  assert.deepEqual(await read(lines.join('\n')), expectedLines);
  assert.deepEqual(await read(`\ufeff${lines.join('\r\n')}\r\n\r\n \n`), expectedLines);
});

test('records that lie across the chunks of a file come out whole', async () => {
  const records = Array.from({ length: 300 }, (_, i) => ({ id: i, text: 'ü'.repeat(i * 17) }));
  assert.deepEqual(await read(JSON.stringify(records)), records);
  assert.deepEqual(await read(records.map((record) => JSON.stringify(record)).join('\n')), records);
});

test('any array of JSON values reads as JSON.parse has it', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.jsonValue()), async (values) => {
      const text = JSON.stringify(values);
      assert.deepEqual(await read(text), JSON.parse(text));
    }),
    { numRuns: 50 },
  );
});

test('an empty array has no records, an empty file is a mistake', async () => {
  assert.deepEqual(await read('[]'), []);
  await assert.rejects(read(''), problem(/has no records: it is empty/));
  await assert.rejects(read(' \n \t\n'), problem(/has no records: it is empty/));
});

test('what is not JSON is refused with the place', async () => {
  await assert.rejects(read('{"id":1}\n{"id":2\n'), problem(/not JSON in line 2/));
  await assert.rejects(read('id,name\n1,a\n'), problem(/not JSON in line 1/));
  await assert.rejects(read('{\n  "id": 1\n}\n'), problem(/not JSON in line 1/));
  await assert.rejects(read('[{"id":1},{"id":]'), problem(/not JSON in or after record [12]\b/));
  await assert.rejects(read('[nonsense]'), problem(/not JSON in or after record 1\b/));
});

test('an array that is cut off is refused, not taken for its beginning', async () => {
  await assert.rejects(read('[{"id":1},{"id":2}'), problem(/not JSON in or after record [123]\b/));
  await assert.rejects(read('[{"id":1},'), problem(/not JSON in or after record [12]\b/));
  await assert.rejects(read('['), problem(/not JSON in or after record 1\b/));
});
