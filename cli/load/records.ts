/**
 * The records of a file, one after the other, however large the file is. Two forms, told apart by the first
 * character: `[` is one JSON array of records; anything else is NDJSON, one record a line.
 *
 * I1 Memory does not grow with the file: one chunk and one record at a time.
 * I2 Records come in the order of the file, numbered from 1. Empty lines are no records.
 */
import { createReadStream, type ReadStream } from 'node:fs';
import { type FileHandle, open, stat } from 'node:fs/promises';
import { count, printable } from '../output.ts';
import { messageOf, Problem } from '../problem.ts';

export interface SourceRecord {
  readonly number: number;
  readonly value: unknown;
}

export interface RecordFile {
  readonly path: string;
  readonly size: number;
  readonly modifiedMs: number;
  readonly form: 'array' | 'lines';
  /** Of the file, read so far; for progress. */
  bytesRead(): number;
  records(): AsyncGenerator<SourceRecord>;
  close(): Promise<void>;
}

const chunkBytes = 256 * 1024;
/** A line of NDJSON longer than this is not read on: it is no record of ours (values are at most 1 MiB). */
export const lineBytesMax = 64 * 1024 * 1024;

/** Throws the system's error where the file cannot be opened, and a Problem where there are no records to be had of it. */
export async function openRecords(path: string): Promise<RecordFile> {
  if (path === '-') throw noFile('standard input');
  const kind = await stat(path);
  // Before it is opened: a named pipe without a writer would be waited for.
  if (!kind.isFile() && !kind.isDirectory()) throw noFile(path);
  const handle = await open(path, 'r');
  try {
    const { size, mtimeMs } = await handle.stat();
    const first = await firstCharacter(handle);
    if (first === undefined) throw new Problem(`${path} has no records: it is empty`);
    const form = first === '[' ? 'array' : 'lines';
    let stream: ReadStream | undefined;
    return {
      path,
      size,
      modifiedMs: Math.trunc(mtimeMs),
      form,
      bytesRead: () => stream?.bytesRead ?? 0,
      records: () => {
        stream = createReadStream(path, { highWaterMark: chunkBytes });
        return form === 'array' ? arrayRecords(stream, path) : lineRecords(stream, path);
      },
      close: () => handle.close(),
    };
  } catch (error) {
    await handle.close();
    throw error;
  }
}

/** A load goes on where it was, and a verification reads twice. */
function noFile(name: string): Problem {
  return new Problem(
    `${name} is no file: what a load reads must be there again for the next one`,
    'write it into a file first, and load that',
  );
}

async function firstCharacter(handle: FileHandle): Promise<string | undefined> {
  const buffer = Buffer.alloc(4096);
  for (let position = 0; ; ) {
    const { bytesRead } = await handle.read(buffer, 0, buffer.length, position);
    if (bytesRead === 0) return undefined;
    const text = buffer.toString('latin1', 0, bytesRead).replace(position === 0 ? /^\xef\xbb\xbf/ : /^/, '');
    const found = /[^ \t\r\n]/.exec(text);
    if (found !== null) return found[0];
    position += bytesRead;
  }
}

async function* arrayRecords(stream: ReadStream, path: string): AsyncGenerator<SourceRecord> {
  const { streamArray } = await import('stream-json/streamers/stream-array.js');
  // Only whole values: handing on strings and numbers in parts as well takes 2.5 times as long.
  const items = streamArray.withParserAsStream({ packValues: true, streamValues: false });
  stream.once('error', (error) => items.destroy(error));
  stream.pipe(items);
  let number = 0;
  try {
    for await (const item of items as AsyncIterable<{ value: unknown }>) yield { number: ++number, value: item.value };
  } catch (error) {
    // The parser is a chunk ahead of the records that it has handed out.
    throw new Problem(
      `${path} is not JSON in or after record ${count(number + 1)}: ${printable(messageOf(error))}`,
      'wanted a JSON array or NDJSON',
    );
  } finally {
    stream.destroy();
  }
}

async function* lineRecords(stream: ReadStream, path: string): AsyncGenerator<SourceRecord> {
  let number = 0;
  let line = 0;
  for await (const bytes of lines(stream, path)) {
    line++;
    const text = bytes.toString('utf8').replace(line === 1 ? /^\ufeff/ : /^/, '');
    if (text.trim() === '') continue;
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch (error) {
      throw new Problem(
        `${path} is not JSON in line ${count(line)}: ${printable(messageOf(error))}`,
        "wanted a JSON array, or NDJSON: one record a line; a file that does not begin with '[' is read as NDJSON",
      );
    }
    yield { number: ++number, value };
  }
}

async function* lines(stream: ReadStream, path: string): AsyncGenerator<Buffer> {
  let parts: Buffer[] = [];
  let partBytes = 0;
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    let start = 0;
    for (let end = chunk.indexOf(0x0a); end >= 0; end = chunk.indexOf(0x0a, start)) {
      const part = chunk.subarray(start, end);
      yield parts.length === 0 ? part : Buffer.concat([...parts, part]);
      parts = [];
      partBytes = 0;
      start = end + 1;
    }
    if (start < chunk.length) {
      parts.push(chunk.subarray(start));
      partBytes += chunk.length - start;
    }
    if (partBytes > lineBytesMax) {
      throw new Problem(`${path} has a line of more than ${count(lineBytesMax)} bytes`, 'wanted one record a line');
    }
  }
  if (parts.length > 0) yield Buffer.concat(parts);
}
