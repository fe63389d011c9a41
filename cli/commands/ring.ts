import type { Command } from 'commander';
import { json, write } from '../output.ts';
import { usageProblem } from '../problem.ts';
import { changeLine, changeWatched, endText, planText, replaceLost, withClaimant } from '../ring-change.ts';

interface PlanOptions {
  join?: string[];
  leave?: string[];
  replace?: { leaves: string; joins: string }[];
  down?: string[];
}

interface ReplaceOptions {
  acceptLoss?: boolean;
  wait: boolean;
}

/** For a node that has just been started. */
const replacementKnownWithinMs = 15_000;

const about = `
The ring is changed by the claimant, one of the membership processes: name it with --endpoint. In a cluster of
\`cartwheel dev\` it is found beside the router. A change is planned, looked at, and committed; it goes on by itself, over
restarts of any process. NODE is a node's id or its address.

Examples:
  cartwheel ring plan --join all
  cartwheel ring plan --replace 127.0.0.1:7412=127.0.0.1:7416
  cartwheel ring replace 127.0.0.1:7413                                 its disk was lost; it runs with an empty one
  cartwheel ring plan --down 127.0.0.1:7413 --leave 127.0.0.1:7413      it does not come back
  cartwheel ring plan                                                   even what nodes own
  cartwheel ring commit 8c4f0a9d2b6e1357 --wait
  cartwheel ring status
  cartwheel ring rollback`;

export function addRing(program: Command): void {
  const ring = program
    .command('ring')
    .description('plan, commit and watch changes of the ring: nodes that join, leave or are replaced')
    .addHelpText('after', about);

  ring
    .command('plan')
    .description('show what a change would move; nothing is begun')
    .option('--join <nodes>', 'nodes that run and are not in the ring, with commas; all: every one there is', names)
    .option('--leave <nodes>', 'nodes that give up what they own', names)
    .option('--replace <old=new>', 'new takes the place of old; several with commas', replacements)
    .option('--down <nodes>', 'nodes that nobody is to wait for, because they do not come back soon', names)
    .addHelpText('after', about)
    .action(async (options: PlanOptions, command: Command) => {
      const { join = [], leave = [], replace = [], down = [] } = options;
      const joinAll = join.includes('all');
      const request = { join: join.filter((node) => node !== 'all'), joinAll, leave, replace, down };
      await withClaimant(command, async (client, settings) => {
        const plan = await client.changes.plan(request);
        await write(settings.output === 'json' ? json(plan) : planText(plan, 'cartwheel ring commit'));
      });
    });

  ring
    .command('commit')
    .description('carry a plan out')
    .argument('<plan>', 'its id, as `cartwheel ring plan` shows it')
    .option(
      '--wait',
      'until it has ended, with progress on standard error; exit code 1 where it is rolled back or replaced',
    )
    .addHelpText('after', about)
    .action(async (plan: string, options: { wait?: boolean }, command: Command) => {
      await withClaimant(command, async (client, settings) => {
        await client.changes.commit(plan);
        if (options.wait === true) await changeWatched(client, plan);
        const done = options.wait === true;
        if (settings.output === 'json') await write(json({ planId: plan, done }));
        else await write(done ? 'done\n' : 'committed: `cartwheel ring status` shows how far it is\n');
      });
    });

  ring
    .command('replace')
    .description('build a node whose disk was lost, or does not open, anew from the other replicas')
    .argument('<old>', 'the node that is lost: its address, or its id')
    .argument(
      '[new]',
      'the node that takes its place, running and empty; the one at the same address where it is not given',
    )
    .option('--accept-loss', 'also where all owners of a partition are down')
    .option('--no-wait', 'end once it is committed')
    .addHelpText(
      'after',
      `
First start a node with an empty data directory, at the old address or elsewhere: it comes up as another node, outside
the ring. It then takes the place of the old one, which nobody waits for any more: what it held is pulled from the other
replicas, and reads and writes go on meanwhile by those. Interrupted, it goes on: \`cartwheel ring status\` shows it.

Examples:
  cartwheel ring replace 127.0.0.1:7413
  cartwheel ring replace 127.0.0.1:7413 127.0.0.1:7416`,
    )
    .action(async (leaves: string, joins: string | undefined, options: ReplaceOptions, command: Command) => {
      await withClaimant(command, async (client, settings) => {
        const pair = { leaves, joins: joins ?? leaves };
        const planId = await replaceLost(client, pair, {
          acceptsLoss: options.acceptLoss === true,
          knownWithinMs: replacementKnownWithinMs,
          wait: options.wait,
          ifNotBegun: () => `at ${pair.joins} a node has to run that is not in the ring yet, with an empty directory`,
        });
        if (settings.output === 'json') await write(json({ planId, done: options.wait }));
        else
          await write(
            options.wait ? `replaced ${leaves}\n` : 'committed: `cartwheel ring status` shows how far it is\n',
          );
      });
    });

  for (const [name, what, description, said] of [
    ['pause', 'PAUSE', 'begin with no further partition; those in flight go on to their end', 'paused'],
    ['resume', 'RESUME', 'go on with a change that was paused', 'resumed'],
    ['rollback', 'ROLL_BACK', 'give up what was not flipped yet; what was flipped stays', 'rolled back'],
  ] as const) {
    ring
      .command(name)
      .description(description)
      .addHelpText('after', about)
      .action(async (_: object, command: Command) => {
        await withClaimant(command, async (client, settings) => {
          await client.changes.control(what);
          await write(settings.output === 'json' ? json({ control: what }) : `${said}\n`);
        });
      });
  }

  ring
    .command('status')
    .description('show the change that is under way')
    .addHelpText('after', about)
    .action(async (_: object, command: Command) => {
      await withClaimant(command, async (client, settings) => {
        const { ring: version, claimant } = await client.changes.status();
        if (settings.output === 'json') return write(json({ ring: version, claimant }));
        const { change, waitingFor = '', ended = [] } = claimant ?? {};
        const ringText = `ring     ${version === undefined ? 'none' : `${version.term}.${version.sequence}`}\n`;
        const waiting = waitingFor === '' ? '' : `waiting  ${waitingFor}\n`;
        const last = ended.at(-1);
        const lastText = last === undefined ? '' : `last     ${last.planId}: ${endText(last)}\n`;
        if (change === undefined) return write(`${ringText}change   none is under way\n${lastText}${waiting}`);
        return write(`${ringText}change   ${change.planId}: ${changeLine(change, { waitingFor })}\n`);
      });
    });
}

function names(text: string): string[] {
  const list = text.split(',').map((name) => name.trim());
  if (list.includes(''))
    throw usageProblem(`'${text}' names a node that has no name`, 'such as 127.0.0.1:7414,127.0.0.1:7415');
  return list;
}

function replacements(text: string): { leaves: string; joins: string }[] {
  return names(text).map((pair) => {
    const [leaves = '', joins = '', ...more] = pair.split('=');
    if (leaves === '' || joins === '' || more.length > 0) {
      throw usageProblem(`--replace '${pair}' is not OLD=NEW`, 'such as 127.0.0.1:7412=127.0.0.1:7416');
    }
    return { leaves, joins };
  });
}
