/**
 * Who this node is: a random id on its disk. A lost disk is a new node, never the old one with an empty
 * memory.
 */
import type { Random, StorageEngine } from '../core/ports.ts';
import { DataDirectoryError, rebuildAdvice } from '../platform/rocksdb/data-directory.ts';

const identityKey = Buffer.from('node-id');

/** Throws DataDirectoryError where damage has taken it: with another one this node would bring the records of the old one. */
export async function readIdentity(engine: StorageEngine, random: Random, directory: string): Promise<string> {
  const [stored] = await engine.getMany('meta', [identityKey]);
  if (stored !== undefined) return Buffer.from(stored).toString('latin1');
  if (engine.isIncomplete) {
    throw new DataDirectoryError(
      `data directory ${directory} has lost the id of its node. ${rebuildAdvice(directory)}`,
    );
  }
  const id = random.u64().toString(16).padStart(16, '0');
  await engine.write([{ space: 'meta', key: identityKey, value: Buffer.from(id, 'latin1') }], true);
  return id;
}
