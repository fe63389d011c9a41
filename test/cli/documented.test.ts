/** The pages about the command line against the commands that there are. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { Command } from 'commander';
import { commandsOf, nameOf } from '../../cli/command-tree.ts';
import { buildProgram } from '../../cli/program.ts';
import { commandsPage } from '../../docs/generate/commands.ts';

const root = new URL('../../', import.meta.url);
const read = (path: string) => readFileSync(new URL(path, root), 'utf8');
const program = buildProgram();

test('docs/commands.md is what `npm run docs:commands` writes now', () => {
  const isFresh = read('docs/commands.md') === commandsPage(buildProgram());
  assert.ok(isFresh, 'it is stale');
});

test('the table of docs/cli.md has every command, and every command in a command', () => {
  const [table = ''] = /^\| command \|.*?\n\n/ms.exec(read('docs/cli.md')) ?? [];
  for (const command of commandsOf(program).slice(1)) {
    if (command.commands.length > 0 && command.name() !== 'dev') continue;
    const [, first = '', last = first] = nameOf(command).split(' ');
    const row = new RegExp(`^\\| .*\`${first}\\b.*$`, 'm').exec(table)?.[0] ?? '';
    assert.match(row, new RegExp(`\`(${first} )?${last}\\b`), nameOf(command));
  }
});

/** What pages tell people to type, in blocks and between backticks, from `cartwheel` on. */
function commandLines(markdown: string): string[] {
  const inBlocks = markdown.split(/^```.*$/m).filter((_, i) => i % 2 === 1);
  const spans = [...markdown.matchAll(/`([^`\n]+)`/g)].map(([, span = '']) => span);
  return [...inBlocks.join('\n').replaceAll('\\\n', ' ').split('\n'), ...spans].flatMap((line) => {
    const [, typed] = /^(?:\$ |.* -- |[A-Z_]+=\S+ )?(?:npx )?cartwheel ((?:-|[a-z]).*)$/.exec(line.trim()) ?? [];
    return typed === undefined ? [] : [typed];
  });
}

/** The command that a line means, and the flags in it. */
function parsed(line: string): { readonly command: Command; readonly flags: readonly string[] } {
  const words = line.replaceAll(/'[^']*'|"[^"]*"|\$\([^)]*\)/g, 'QUOTED').split(/\s+/);
  const end = words.findIndex((word) => word === '|' || word === '>' || word === '#');
  let command = program;
  for (const word of words) {
    const next = command.commands.find((each) => each.name() === word);
    if (next !== undefined) command = next;
  }
  const flags = words.slice(0, end < 0 ? undefined : end).filter((word) => /^--?[a-z]/.test(word));
  return { command, flags: flags.map((flag) => flag.replace(/=.*|[,.;:]+$/g, '')) };
}

test('every page shows commands and flags that exist', () => {
  const pages = readdirSync(fileURLToPath(new URL('docs', root)), { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('.md') && path !== 'commands.md')
    .map((path) => `docs/${path}`);
  let lines = 0;
  for (const page of ['README.md', ...pages]) {
    for (const line of commandLines(read(page))) {
      lines++;
      const { command, flags } = parsed(line);
      if (command === program)
        assert.match(line, /^(-|COMMAND)/, `${page}: cartwheel ${line}: there is no such command`);
      const known = [...command.options, ...program.options].flatMap(({ short, long }) => [short, long]);
      for (const flag of flags) {
        assert.ok(
          [...known, '--help', '-h'].includes(flag),
          `${page}: cartwheel ${line}: ${nameOf(command)} has no ${flag}`,
        );
      }
    }
  }
  assert.ok(lines > 40, `${lines} command lines were found in the pages`);
});
