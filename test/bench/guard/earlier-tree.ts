/** An earlier commit as a tree that can be run: its sources beside this clone, with packages and generated code. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, symlinkSync, utimesSync } from 'node:fs';
import { join } from 'node:path';
import { messageOf, Problem } from '../../../cli/problem.ts';
import { root, runProgram } from '../program.ts';

export interface EarlierTree {
  readonly root: string;
  /** Short. */
  readonly commit: string;
}

/** What the servers are made of, and the load: where none of it differs, neither does what it costs. */
const measured = ['services', 'cli', 'client', 'proto', 'package-lock.json'];
/** To install packages and generate code. */
const prepareMs = 60_000;

/** Whether nothing that is measured differs between a commit and the work tree; false where there is no such commit. */
export function isSameProgram(commit: string): boolean {
  return git(['diff', '--quiet', commit, '--', ...measured]).status === 0;
}

/** Throws a Problem where there is no such commit, or it cannot be made to run. */
export async function earlierTree(commit: string, directory: string, signal: AbortSignal): Promise<EarlierTree> {
  const name = git(['rev-parse', '--short', '--verify', `${commit}^{commit}`]).stdout.trim();
  if (name === '') throw new Problem(`there is no commit ${commit} here`, 'a shallow clone has no history');
  // An archive and not a work tree of git: nothing of it is left in .git, however this ends.
  mkdirSync(directory, { recursive: true });
  const archive = join(directory, '..', 'before.tar');
  if (git(['archive', '--output', archive, name]).status !== 0) throw new Problem(`${name} cannot be archived`);
  await runProgram('tar', ['-x', '-f', archive, '-C', directory], signal);
  rmSync(archive);
  const [lockNow, lockThen] = [root, directory].map((tree) => readFileSync(join(tree, 'package-lock.json'), 'utf8'));
  if (lockNow === lockThen) {
    symlinkSync(join(root, 'node_modules'), join(directory, 'node_modules'));
    // Older than what is installed: bootstrap.js would install again, through the link.
    utimesSync(join(directory, 'package-lock.json'), 0, 0);
  }
  const limited = AbortSignal.any([signal, AbortSignal.timeout(prepareMs)]);
  await runProgram(process.execPath, [join(directory, 'bin', 'bootstrap.js')], limited).catch((error: unknown) => {
    signal.throwIfAborted();
    if (limited.aborted) throw new Problem(`${name} was not installed and generated within ${prepareMs / 1000} s`);
    throw new Problem(`${name} cannot be built: ${messageOf(error)}`);
  });
  return { root: directory, commit: name };
}

function git(flags: readonly string[]) {
  return spawnSync('git', flags, { cwd: root, encoding: 'utf8' });
}
