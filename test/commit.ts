/** Which commit it is that runs, for reports. */
import { spawnSync } from 'node:child_process';

/** Short, and whether something was changed since; `unknown` outside of a clone. */
export function commitText(): string {
  const git = (...flags: string[]) =>
    spawnSync('git', flags, { cwd: import.meta.dirname, encoding: 'utf8' }).stdout?.trim() ?? '';
  const commit = git('rev-parse', '--short', 'HEAD');
  if (commit === '') return 'unknown';
  return git('status', '--porcelain', '--untracked-files=no') === '' ? commit : `${commit} with changes`;
}
