/** For a module that is loaded into a process to look into it (observed.ts). */
import { renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** Undefined: nobody wants to know. */
export const observedDirectory = process.env.CARTWHEEL_OBSERVED;

/** `seen` as JSON, in a file that is there once it is whole. */
export function tellObserver(directory: string, seen: unknown): void {
  const file = join(directory, `${process.pid}.json`);
  writeFileSync(`${file}.part`, JSON.stringify(seen));
  renameSync(`${file}.part`, file);
}
