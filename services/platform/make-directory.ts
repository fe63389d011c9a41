import { mkdirSync, statSync } from 'node:fs';
import { dirname } from 'node:path';

/**
 * Makes a directory, and those above it, where they are missing. Not mkdir's `recursive`, which in Node 24 never
 * returns where a directory cannot be made for want of an entry, as in /proc. Returns those that have a new name in
 * them, the uppermost first.
 */
export function makeDirectory(directory: string): readonly string[] {
  if (isDirectory(directory)) return [];
  const above = dirname(directory);
  const parents = above === directory ? [] : makeDirectory(above);
  try {
    mkdirSync(directory);
  } catch (error) {
    if (!isDirectory(directory)) throw error; // else another process has made it meanwhile
  }
  return [...parents, above];
}

function isDirectory(path: string): boolean {
  try {
    return statSync(path).isDirectory();
  } catch {
    return false; // making it says why
  }
}
