/** What a failed seed tells a person: what broke, and the one command that shows it again. */
import { commitText } from '../commit.ts';
import type { RunResult } from './simulation.ts';

/** The first line is for programs too: controls.ts reads it. */
export function reportOf({ seed, violation, lastLines, hash }: RunResult): string {
  return [
    `seed ${seed} breaks ${violation?.promise}: ${violation?.message}`,
    '',
    ...lastLines.slice(-20).map((line) => `    ${line}`),
    '',
    `commit ${commitText()}, history ${hash}`,
    `replay: npm run sim -- --seed ${seed} --trace`,
  ].join('\n');
}
