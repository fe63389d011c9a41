/**
 * Negative controls: systems built wrong, one way each, which the simulation must catch. What it does not
 * catch it does not test.
 *
 * There is no hook for this in the services: a process of its own is started, in which mutate.ts changes one
 * snippet of one source file as it is loaded.
 */
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

export interface Control {
  readonly name: string;
  /** What is wrong with it. */
  readonly fault: string;
  readonly file: string;
  /** Exactly one place in the file. */
  readonly snippet: string;
  readonly replacement: string;
}

export const controls: readonly Control[] = [
  {
    name: 'no-birth-rule',
    fault: 'a node mints under the birth kept with its record, whatever has happened to its disk',
    file: 'services/core/versioning/birth.ts',
    snippet: 'birth !== undefined && birth.lineage === lineage',
    replacement: 'birth !== undefined',
  },
  {
    name: 'whole-clock',
    fault: 'a put answers with the whole clock of the record',
    file: 'services/storage-node/coordinate-put.ts',
    snippet: 'contexts.encode(answerContext(request.context, dot), request.keyHash)',
    replacement: 'contexts.encode(held.record.clock, request.keyHash)',
  },
  {
    name: 'newest-wins',
    fault: 'merge keeps the newest value, by the wall clocks of the coordinators',
    file: 'services/core/versioning/record.ts',
    snippet: '  if (clock === a.clock && sameSiblings(siblings, a.siblings)) return a;',
    replacement:
      '  siblings.sort((x, y) => y.writtenAtMs - x.writtenAtMs).splice(1);\n' +
      '  if (clock === a.clock && sameSiblings(siblings, a.siblings)) return a;',
  },
  {
    name: 'early-acknowledgement',
    fault: 'a write is acknowledged as soon as it is written, not when it is synced',
    file: 'services/storage-node/record-store.ts',
    snippet: '      await engine.write(mutations, batch.sync);',
    replacement: '      await engine.write(mutations, false);',
  },
  {
    name: 'two-overlay-entries',
    fault: 'two changes of a key read the same old record, because the first one’s read is still pending',
    file: 'services/storage-node/record-store.ts',
    snippet: '    if (known !== undefined) return known;',
    replacement: '    if (known?.held !== undefined) return known;',
  },
];

export interface ControlResult {
  readonly control: Control;
  /** Undefined: nothing was noticed. */
  readonly caught: { readonly seed: number; readonly promise: string; readonly seen: string } | undefined;
  readonly output: string;
}

/** Only stops a hang: what is built wrong may also never end. */
const hangMs = 5 * 60_000;
const main = fileURLToPath(new URL('./main.ts', import.meta.url));

/** Runs seeds on the system built wrong until one catches it. */
export function runControl(control: Control, seeds: number): Promise<ControlResult> {
  const mutation = new URL('./mutate.ts', import.meta.url);
  mutation.searchParams.set('control', control.name);
  const child = spawn(process.execPath, ['--import', mutation.href, main, '--seeds', String(seeds)], {
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: hangMs,
  });
  let output = '';
  child.stdout.on('data', (chunk) => {
    output += chunk;
  });
  child.stderr.on('data', (chunk) => {
    output += chunk;
  });
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code) => {
      const match = /^seed (\d+) breaks (.+?): (.*)$/m.exec(output);
      if (code === 1 && match !== null) {
        const [, seed, promise = '', seen = ''] = match;
        resolve({ control, caught: { seed: Number(seed), promise, seen }, output });
      } else if (code === 0) {
        resolve({ control, caught: undefined, output });
      } else {
        reject(new Error(`the control ${control.name} ended with ${code}:\n${output}`));
      }
    });
  });
}
