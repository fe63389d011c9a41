import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Sibling } from '../../client/index.ts';
import { textOf } from '../output.ts';
import { Problem } from '../problem.ts';

const divider = '<<<<<<<';

/**
 * Lets $VISUAL or $EDITOR make one value out of the siblings, which it finds one after the other, each under a
 * line that begins with <<<<<<<. Throws a Problem when the editor fails or such a line is left in.
 */
export function mergeInEditor(siblings: readonly Sibling[]): Buffer {
  const editor = process.env.VISUAL || process.env.EDITOR;
  if (editor === undefined || editor === '')
    throw new Problem('neither VISUAL nor EDITOR is set', 'or use --pick, --value');
  const texts = siblings.map(({ value, dot }) => {
    const text = textOf(value);
    if (text === undefined) throw new Problem(`sibling ${dot} is not text, an editor would damage it`, 'use --pick');
    return `${divider} ${dot}\n${text}${text.endsWith('\n') ? '' : '\n'}`;
  });
  const directory = mkdtempSync(join(tmpdir(), 'cartwheel-resolve-'));
  const path = join(directory, 'value');
  try {
    writeFileSync(path, texts.join(''), { mode: 0o600 });
    // Not spawnSync's `shell`: with it $0 is the shell itself, and the editor would be given that to edit.
    const { status, error } = spawnSync('/bin/sh', ['-c', `${editor} "$1"`, 'editor', path], { stdio: 'inherit' });
    if (error !== undefined || status !== 0) {
      throw new Problem(`${editor} ended with ${error?.message ?? `exit code ${status}`}; nothing was written`);
    }
    const edited = readFileSync(path);
    if (
      edited
        .toString('latin1')
        .split('\n')
        .some((line) => line.startsWith(divider))
    ) {
      throw new Problem(`a line with ${divider} is left in; nothing was written`, 'leave only the one value');
    }
    // Editors end a file with a newline; a value that had none keeps none.
    const hadNewline = siblings.some(({ value }) => value.at(-1) === 0x0a);
    return !hadNewline && edited.at(-1) === 0x0a ? edited.subarray(0, -1) : edited;
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}
