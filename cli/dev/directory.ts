/**
 * What `cartwheel dev` keeps in its data directory besides its children's data: dev.json, the layout that
 * data was made for, and run.json, the processes of the last run.
 */
import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { makeDirectory } from '../../services/platform/make-directory.ts';
import { messageOf, Problem, systemCodeOf } from '../problem.ts';
import { type DevLayout, firstNumbers } from './layout.ts';

const layoutVersion = 1;
export const defaultData = '.cartwheel';

/** Where the directory of a node is while it is replaced. */
export function asideOf(directory: string, name: string): string {
  return join(directory, `${name}.replaced`);
}

/** Makes the directory where it is missing, and shows that it can be written. */
export function prepareDirectory(directory: string): void {
  const probe = join(directory, `.writable-${process.pid}`);
  try {
    makeDirectory(directory);
    writeFileSync(probe, '');
    rmSync(probe);
  } catch (error) {
    throw new Problem(
      `--data: cannot write to ${directory}: ${messageOf(error)}`,
      'name a directory that you may write to, such as --data /tmp/cartwheel',
    );
  }
}

export function storedLayout(directory: string): DevLayout | undefined {
  const path = join(directory, 'dev.json');
  const text = readIfThere(path);
  if (text === undefined) return undefined;
  const stored = parse(text);
  if (stored === undefined) {
    throw new Problem(
      `${path} is no JSON object: it is damaged`,
      'remove it and give the flags that the data was made with, or use another --data',
    );
  }
  if (stored.version !== layoutVersion) {
    throw new Problem(
      `${path} is of version ${String(stored.version)}, this cartwheel knows version ${layoutVersion}`,
      'use the cartwheel that made it, or another --data',
    );
  }
  const { nodes, zones, basePort, partitions, replicas, membership, storage } = stored as Record<string, unknown>;
  const numbers = { nodes, zones, basePort, partitions, replicas, membership };
  for (const [field, value] of Object.entries(numbers)) {
    if (!Number.isSafeInteger(value) || (value as number) < 1) {
      throw new Problem(`${path}: ${field} is ${JSON.stringify(value)}, wanted a number such as 3`);
    }
  }
  const layout = numbers as Omit<DevLayout, 'storage'>;
  if (storage === undefined) return { ...layout, storage: firstNumbers(layout.nodes) };
  if (!Array.isArray(storage) || !storage.every((number) => Number.isSafeInteger(number) && number >= 1)) {
    throw new Problem(`${path}: storage is ${JSON.stringify(storage)}, wanted numbers such as [1,2,3]`);
  }
  return { ...layout, storage };
}

export function storeLayout(directory: string, layout: DevLayout): void {
  replaceFile(join(directory, 'dev.json'), { version: layoutVersion, ...layout });
}

/** Process ids of the last run's children, by name; not necessarily alive, or still the same processes. */
export function storedPids(directory: string): Readonly<Record<string, number>> {
  return (parse(readIfThere(join(directory, 'run.json')) ?? '{}') ?? {}) as Record<string, number>;
}

export function storePids(directory: string, pids: Readonly<Record<string, number>>): void {
  replaceFile(join(directory, 'run.json'), pids);
}

function replaceFile(path: string, value: object): void {
  try {
    writeFileSync(`${path}.new`, `${JSON.stringify(value, undefined, 2)}\n`);
    renameSync(`${path}.new`, path);
  } catch (error) {
    throw new Problem(`${path} cannot be written: ${messageOf(error)}`);
  }
}

function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (systemCodeOf(error) === 'ENOENT') return undefined;
    throw new Problem(`${path} cannot be read: ${messageOf(error)}`);
  }
}

function parse(text: string): Record<string, unknown> | undefined {
  try {
    const value = JSON.parse(text) as unknown;
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}
