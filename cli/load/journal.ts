/**
 * How far a load has come, on disk, so that it can go on after a Ctrl-C or a crash.
 *
 * I1 `acknowledged` is never ahead of the store: every record up to it has been acknowledged, or was reported as
 *    one that cannot be written.
 * I2 A journal of another file, key, namespace or cluster is never taken for this one's.
 * I3 The file is replaced as a whole: it is the old one or the new one.
 */
import { createHash } from 'node:crypto';
import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { makeDirectory } from '../../services/platform/make-directory.ts';
import { systemCodeOf } from '../problem.ts';

/** What must be the same for a load to be the same load. */
export interface LoadIdentity {
  readonly file: string;
  readonly size: number;
  readonly modifiedMs: number;
  readonly key: string;
  readonly namespace: string;
  readonly clusterId: string;
  readonly replace: boolean;
}

/** What a resumption goes on with. */
export interface LoadState {
  /** Hexadecimal; random, and mixed into every request id of the load. */
  readonly nonce: string;
  /** Whether the namespace was empty when the load began. */
  readonly beganEmpty: boolean;
  readonly acknowledged: number;
  /** Of those, the records that cannot be written. */
  readonly rejected: number;
}

interface Stored extends LoadIdentity, LoadState {
  readonly version: number;
}

const journalVersion = 2;

export function journalDirectory(environment: Readonly<Record<string, string | undefined>>): string {
  const state = environment.XDG_STATE_HOME || join(homedir(), '.local', 'state');
  return join(state, 'cartwheel');
}

export class Journal {
  readonly path: string;
  private readonly identity: LoadIdentity;
  private readonly directory: string;
  private written = -1;

  constructor(directory: string, identity: LoadIdentity) {
    this.identity = { ...identity, file: resolve(identity.file) };
    const { file, key, namespace, clusterId } = this.identity;
    const name = createHash('sha256')
      .update(JSON.stringify([file, key, namespace, clusterId]))
      .digest('hex');
    this.directory = directory;
    this.path = join(directory, `load-${name.slice(0, 16)}.json`);
  }

  /** Undefined where there is nothing to go on from. */
  read(): LoadState | undefined {
    let stored: Partial<Stored>;
    try {
      stored = (JSON.parse(readFileSync(this.path, 'utf8')) as Partial<Stored> | null) ?? {};
    } catch {
      return undefined; // none, or not one of ours: the load begins at the beginning, which is always right
    }
    const same = Object.entries(this.identity).every(([field, value]) => stored[field as keyof Stored] === value);
    if (!same || stored.version !== journalVersion) return undefined;
    const { nonce = '', beganEmpty = false, acknowledged, rejected } = stored;
    if (!isCount(acknowledged) || !isCount(rejected) || rejected > acknowledged) return undefined;
    const whole = typeof beganEmpty === 'boolean' && /^[0-9a-f]{32}$/.test(nonce);
    return whole ? { nonce, beganEmpty, acknowledged, rejected } : undefined;
  }

  write(state: LoadState): void {
    if (state.acknowledged === this.written) return;
    const stored: Stored = { version: journalVersion, ...this.identity, ...state };
    makeDirectory(this.directory);
    writeFileSync(`${this.path}.new`, `${JSON.stringify(stored)}\n`);
    renameSync(`${this.path}.new`, this.path);
    this.written = state.acknowledged;
  }

  remove(): void {
    try {
      rmSync(this.path, { force: true });
    } catch (error) {
      if (systemCodeOf(error) !== 'ENOTDIR') throw error; // where no file can be, none is
    }
  }
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

/** The highest n so that 1..n are all done, while they are done in any order. */
export class Watermark {
  value: number;
  /** How many up to there were rejected. */
  rejected: number;
  private readonly ahead = new Set<number>();
  private readonly rejectedAhead = new Set<number>();

  constructor(start: number, rejected = 0) {
    this.value = start;
    this.rejected = rejected;
  }

  done(n: number): void {
    this.ahead.add(n);
    while (this.ahead.delete(this.value + 1)) {
      this.value++;
      if (this.rejectedAhead.delete(this.value)) this.rejected++;
    }
  }

  /** Done, in that it cannot be written. */
  reject(n: number): void {
    this.rejectedAhead.add(n);
    this.done(n);
  }
}
