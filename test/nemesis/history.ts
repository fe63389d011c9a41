/** Every operation of every client, one line each, in a file: what happened to a key is looked up there after the run. */
import { createReadStream, createWriteStream } from 'node:fs';
import { createInterface } from 'node:readline';

export interface History {
  /** ` on KEY` ends what it is about. */
  note(client: string, what: string, key: string, more?: string): void;
  /** All lines of a key, in order; the last `linesMax` where there are more. */
  of(key: string, linesMax: number): Promise<string[]>;
  close(): Promise<void>;
}

/** Lines are written together, about so many bytes at once. */
const batchBytes = 64 * 1024;

export function createHistory(path: string, now: () => number): History {
  const file = createWriteStream(path);
  let batch = '';

  function flush(): Promise<void> {
    const lines = batch;
    batch = '';
    return new Promise((resolve, reject) => file.write(lines, (error) => (error ? reject(error) : resolve())));
  }

  return {
    note(client, what, key, more = '') {
      batch += `${(now() / 1000).toFixed(3)} ${client} ${what} on ${key} ${more}\n`;
      if (batch.length > batchBytes) void flush();
    },
    async of(key, linesMax) {
      await flush();
      const found: string[] = [];
      const wanted = ` on ${key} `;
      for await (const line of createInterface({ input: createReadStream(path) })) {
        if (!line.includes(wanted)) continue;
        found.push(line);
        if (found.length > 2 * linesMax) found.splice(0, linesMax);
      }
      return found.slice(-linesMax);
    },
    async close() {
      await flush();
      await new Promise<void>((resolve) => file.end(resolve));
    },
  };
}
