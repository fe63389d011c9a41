/** What a failed seed tells a person: what broke, and the one command that shows it again. */
import { execFileSync } from 'node:child_process';
import type { RunResult } from './simulation.ts';

/** The first line is for programs too: controls.ts reads it. */
export function reportOf({ seed, violation, lastLines, hash }: RunResult): string {
  return [
    `seed ${seed} breaks ${violation?.promise}: ${violation?.message}`,
    '',
    ...lastLines.slice(-20).map((line) => `    ${line}`),
    '',
    `commit ${commit()}, history ${hash}`,
    `replay: npm run sim -- --seed ${seed} --trace`,
  ].join('\n');
}

function commit(): string {
  try {
    const git = (...args: string[]) => execFileSync('git', args, { cwd: import.meta.dirname, encoding: 'utf8' }).trim();
    const changed = git('status', '--porcelain', '--untracked-files=no') !== '';
    return `${git('rev-parse', '--short', 'HEAD')}${changed ? ' with changes' : ''}`;
  } catch {
    return 'unknown';
  }
}
