/** `cartwheel dev add` and `dev remove`: storage nodes come and go while a cluster of `cartwheel dev` runs. */
import { resolve } from 'node:path';
import { type Command, InvalidArgumentError } from 'commander';
import type { CartwheelClient } from '../../client/index.ts';
import type { GetStatusResponse } from '../../proto/gen/cartwheel/admin/v1/admin.ts';
import { withClient } from '../connection.ts';
import { askRunning, type ControlAnswer, type ControlRequest } from '../dev/control.ts';
import { storedLayout } from '../dev/directory.ts';
import { addressOf, claimantBeside, type DevLayout, processesOf, storageName, storageNodesMax } from '../dev/layout.ts';
import { note, shellWord, write } from '../output.ts';
import { messageOf, Problem } from '../problem.ts';
import { changeDone, plannedOnceKnown, planSummary, replaceLost } from '../ring-change.ts';
import { settingsOf } from '../settings.ts';
import { integerBetween } from '../values.ts';

/** A node has to start, and the claimant to hear of it. */
const knownWithinMs = 60_000;
/** NodeStatus of kv.proto. */
const joining = 1;
const left = 4;

export function addDevNodes(dev: Command): void {
  dev
    .command('add')
    .description('start storage nodes more in a running cluster, and let them take over their share')
    .argument('<n>', 'how many', (text: string) => integerBetween(1, storageNodesMax)(text))
    .addHelpText(
      'after',
      `
Returns when they own their share; what was read and written goes on meanwhile. Interrupted, the change goes on:
\`cartwheel ring status\` shows it.

Examples:
  cartwheel dev add 2
  cartwheel dev add 1 --data /tmp/five`,
    )
    .action(async (count: number, _: object, command: Command) => {
      const running = await runningDev(command);
      // Before anything is started: without the claimant it would wait outside the ring.
      const added = await running.withClaimant(async (client) => {
        const { started } = await running.ask({ command: 'add', count });
        note(`started ${started.join(', ')}`);
        const join = started.map((name) => running.addressOfNode(name));
        await carriedOut(client, () => plannedOnceKnown(client, { join }, knownWithinMs));
        return started;
      });
      await write(`added ${added.join(', ')}\n`);
    });

  dev
    .command('remove')
    .description('let a storage node hand over what it owns, then end it and remove its directory')
    .argument('<node>', 'its name, such as storage-4', nodeName)
    .option('--lost', 'what it has is lost: nobody waits for it, and its partitions are pulled from the others')
    .addHelpText(
      'after',
      `
Examples:
  cartwheel dev remove storage-4
  cartwheel dev remove storage-2 --lost      its process does not start any more`,
    )
    .action(async (name: string, { lost = false }: { lost?: boolean }, command: Command) => {
      const running = await runningDev(command);
      const address = running.addressOfNode(name);
      await running.withClaimant(async (client) => {
        const status = await client.changes.status();
        // It has left already where an earlier remove was interrupted at its end.
        if (!isMember(status, address)) return;
        const request = { leave: [address], down: lost ? [address] : [] };
        await carriedOut(client, () => client.changes.plan(request));
      });
      await running.ask({ command: 'remove', name });
      await write(`removed ${name}\n`);
    });

  dev
    .command('replace')
    .description('build a storage node anew from the others: its disk is lost, damaged, or does not open')
    .argument('<node>', 'its name, such as storage-2', nodeName)
    .option('--accept-loss', 'also where all owners of a partition are down')
    .addHelpText(
      'after',
      `
Ends its process if it runs, puts its directory aside, and starts it with an empty one: it is then another node, with
no memory of what it wrote as the old one. Returns when it owns what the old one owned; what was read and written goes on
meanwhile. Asked again after an interruption it goes on where it was. The old directory is removed at the end.

Examples:
  cartwheel dev replace storage-2`,
    )
    .action(async (name: string, { acceptLoss = false }: { acceptLoss?: boolean }, command: Command) => {
      const running = await runningDev(command);
      const address = running.addressOfNode(name);
      await running.withClaimant(async (client) => {
        if (!(await isEmptyNode(client, address))) await running.ask({ command: 'wipe', name });
        note(`${name} runs with an empty directory; the old one is ${name}.replaced until this is done`);
        const planId = await replaceLost(client, { leaves: address, joins: address }, acceptLoss, knownWithinMs);
        await changeDone(client, planId);
      });
      await running.ask({ command: 'tidy', name });
      await write(`replaced ${name}\n`);
    });
}

/** What runs there has another identity than the ring's node of that address: an earlier replace was interrupted. */
async function isEmptyNode(client: CartwheelClient, address: string): Promise<boolean> {
  const { members } = await client.changes.status();
  const { id } = await client.status(address).catch(() => ({ id: undefined }));
  if (id === undefined) return false;
  const status = members.find((member) => member.id === id)?.status;
  return status === undefined || status === joining;
}

interface RunningDev {
  /** Throws a Problem, and runs nothing, where the claimant does not answer. */
  withClaimant<T>(run: (client: CartwheelClient) => Promise<T>): Promise<T>;
  addressOfNode(name: string): string;
  /** Throws a Problem where it could not be done. */
  ask(request: ControlRequest): Promise<ControlAnswer>;
}

async function runningDev(command: Command): Promise<RunningDev> {
  const { data } = command.optsWithGlobals<{ data: string }>();
  const directory = resolve(data);
  const ask = async (request: ControlRequest): Promise<ControlAnswer> => {
    const answer = await askRunning(directory, request);
    if (answer === undefined) throw new Problem(`no cluster runs on ${data}`, `cartwheel dev --data ${data} starts it`);
    if (answer.problem !== undefined) throw new Problem(answer.problem);
    return answer;
  };
  await ask({ command: 'who' });
  const layoutNow = (): DevLayout => {
    const layout = storedLayout(directory);
    if (layout === undefined) throw new Problem(`${data} has no dev.json`);
    return layout;
  };
  const claimant = claimantBeside(addressOf(layoutNow().basePort));
  const settings = { ...settingsOf(command), endpoints: claimant === undefined ? [] : [claimant] };
  return {
    async withClaimant(run) {
      let answered = false;
      try {
        return await withClient(settings, async (client) => {
          await client.changes.status();
          answered = true;
          return run(client);
        });
      } catch (error) {
        if (answered || !(error instanceof Problem)) throw error;
        throw new Problem(
          `membership-1, which changes the ring, does not answer: ${messageOf(error)}`,
          `cartwheel dev --restart --data ${shellWord(data)} starts it if it is dead`,
        );
      }
    },
    ask,
    addressOfNode(name) {
      const layout = layoutNow();
      const plan = processesOf(layout, directory).find((each) => each.name === name && each.kind === 'storage-node');
      if (plan !== undefined) return addressOf(plan.port);
      throw new Problem(`there is no ${name}`, `there are ${layout.storage.map(storageName).join(', ')}`);
    },
  };
}

/** Plans, commits, and waits for the end; says on standard error what moves and how far it is. */
async function carriedOut(
  client: CartwheelClient,
  plan: () => ReturnType<CartwheelClient['changes']['plan']>,
): Promise<void> {
  const planned = await plan();
  note(`moving ${planSummary(planned)}`);
  await client.changes.commit(planned.planId);
  await changeDone(client, planned.planId);
}

function isMember({ members }: GetStatusResponse, address: string): boolean {
  return members.some((member) => member.address === address && member.status !== left);
}

function nodeName(text: string): string {
  if (!/^storage-[1-9]\d?$/.test(text))
    throw new InvalidArgumentError('Wanted the name of a storage node, such as storage-4.');
  return text;
}
