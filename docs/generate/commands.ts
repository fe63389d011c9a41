/** docs/commands.md: what `--help` says, of every command. */
import type { Command } from 'commander';
import { commandsOf, nameOf } from '../../cli/command-tree.ts';

const width = 110;

export function commandsPage(program: Command): string {
  const sections = commandsOf(program).map(
    (command) => `## ${nameOf(command)}\n\n\`\`\`\n${helpOf(command)}\n\`\`\`\n`,
  );
  return `<!-- Written by \`npm run docs:commands\`. -->
# Commands

What \`--help\` says of each; [cli.md](cli.md) explains them. The options of \`cartwheel\` itself can be given to every command.

${sections.join('\n')}`;
}

function helpOf(command: Command): string {
  let text = '';
  command
    .configureHelp({ helpWidth: width, showGlobalOptions: false })
    .configureOutput({
      writeOut(part) {
        text += part;
      },
    })
    .outputHelp();
  return text.trim();
}
