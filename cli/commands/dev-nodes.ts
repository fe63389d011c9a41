/** `cartwheel dev add` and `dev remove`: storage nodes come and go while a cluster of `cartwheel dev` runs. */
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { type Command, InvalidArgumentError } from 'commander';
import type { CartwheelClient } from '../../client/index.ts';
import type { ChangeStatus, GetStatusResponse } from '../../proto/gen/cartwheel/admin/v1/admin.ts';
import { withClient } from '../connection.ts';
import { askRunning, type ControlAnswer, type ControlRequest } from '../dev/control.ts';
import { asideOf, defaultData, storedLayout } from '../dev/directory.ts';
import { addressOf, claimantBeside, type DevLayout, processesOf, storageName, storageNodesMax } from '../dev/layout.ts';
import { Interrupted, unlessInterrupted } from '../interruption.ts';
import { down, joining, left, up } from '../node-status.ts';
import { note, shellWord, write } from '../output.ts';
import { pause } from '../pause.ts';
import { messageOf, Problem } from '../problem.ts';
import { carriedOut, changeWatched, plannedOnceKnown, replaceLost } from '../ring-change.ts';
import { settingsOf } from '../settings.ts';
import { integerBetween } from '../values.ts';

/** A node has to start, and the claimant to hear of it. */
const knownWithinMs = 60_000;
/** Gossip takes about a second. */
const heardOfWithinMs = 5_000;
const lookEveryMs = 250;

export function addDevNodes(dev: Command): void {
  dev
    .command('add')
    .description('start storage nodes more in a running cluster, and let them take over their share')
    .argument('<n>', 'how many', (text: string) => integerBetween(1, storageNodesMax)(text))
    .addHelpText(
      'after',
      `
Returns when they own their share; what was read and written goes on meanwhile. Interrupted once something moves, the
change goes on: \`cartwheel ring status\` shows it. Interrupted before, they wait outside the ring, which is said.

Examples:
  cartwheel dev add 2
  cartwheel dev add 1 --data /tmp/five`,
    )
    .action(async (count: number, _: object, command: Command) => {
      const running = await runningDev(command);
      let started: readonly string[] = [];
      const addresses = () => started.map((name) => running.addressOfNode(name));
      const plan = async (client: CartwheelClient) => {
        started = (await running.ask({ command: 'add', count })).started;
        note(`started ${started.join(', ')}`);
        return plannedOnceKnown(client, { join: addresses() }, knownWithinMs);
      };
      const ifNotBegun = () =>
        started[0] &&
        `waiting outside the ring: ${started.join(', ')}; \`cartwheel ring plan --join ${addresses().join()}\` shows what a join ` +
          `would move, \`${running.command('remove', started[0])}\` ends one`;
      // Before anything is started: without the claimant it would wait outside the ring.
      await running.withClaimant((client) => carriedOut(client, () => plan(client), { ifNotBegun }));
      await write(`added ${started.join(', ')}\n`);
    });

  dev
    .command('remove')
    .description('let a storage node hand over what it owns, then end it and remove its directory')
    .argument('<node>', 'its name, such as storage-4', nodeName)
    .option('--lost', 'what it has is lost: nobody waits for it, and its partitions are pulled from the others')
    .addHelpText(
      'after',
      `
Returns when its process has ended. Interrupted, the change goes on; given again, it ends the process when that is done. A
node that waits outside the ring owns nothing, and goes at once.

Examples:
  cartwheel dev remove storage-4
  cartwheel dev remove storage-2 --lost      its process does not start any more`,
    )
    .action(async (name: string, { lost = false }: { lost?: boolean }, command: Command) => {
      const running = await runningDev(command);
      const address = running.addressOfNode(name);
      const again = `\`${running.command('remove', name)}\`, given again, ends the process when it is done`;
      await running.withClaimant(async (client) => {
        // It has left already where an earlier remove was interrupted at its end.
        if (!(await isMemberSoon(client, address))) return;
        const request = { leave: [address], down: lost ? [address] : [] };
        await carriedOut(client, () => client.changes.plan(request), { ifGoingOn: again });
      });
      note(`${name} has left: ending its process`);
      await running.ask({ command: 'remove', name }, again);
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
        const again = `\`${running.command('replace', name)}\`, given again, goes on with it`;
        const carry = { ifNotBegun: () => again, ifGoingOn: again };
        /** Goes on with a change in which it is in the ring already; false where it is not. */
        const wentOn = async ({ status, replaced, change }: RunningAt): Promise<boolean> => {
          if (status !== up || (replaced === undefined && !running.isPutAside(name))) return false;
          note(`${name} has taken the place of the old one already`);
          if (change !== undefined) await changeWatched(client, change.planId, again);
          else if (replaced !== undefined) {
            // Somebody gave the change up when some partitions had moved.
            await carriedOut(client, () => client.changes.plan({ leave: [replaced], down: [replaced] }), carry);
          }
          return true;
        };
        const found = await runningAt(client, address);
        if (await wentOn(found)) return;
        if (found.status !== joining) await running.ask({ command: 'wipe', name }, again);
        const where = running.isPutAside(name) ? `; the old one is ${name}.replaced until this is done` : '';
        note(`${name} runs with an empty directory${where}`);
        const replacing = { acceptsLoss: acceptLoss, knownWithinMs, ...carry };
        try {
          await replaceLost(client, { leaves: address, joins: address }, replacing);
        } catch (error) {
          // The change that was begun before may have let it in meanwhile.
          if (error instanceof Interrupted || !(await wentOn(await runningAt(client, address)))) throw error;
        }
      });
      await running.ask({ command: 'tidy', name });
      await write(`replaced ${name}\n`);
    });
}

interface RunningAt {
  /** Of what answers there; undefined where nothing does. */
  readonly status: number | undefined;
  /** The id of a node that had this address, is DOWN, and has not left yet. */
  readonly replaced: string | undefined;
  /** That is under way, of whatever nodes. */
  readonly change: ChangeStatus | undefined;
}

async function runningAt(client: CartwheelClient, address: string): Promise<RunningAt> {
  const { members, claimant } = await client.changes.status();
  const answering = await client.status(address).catch(() => undefined);
  // Of one that has only just started nobody may have heard, and one that has left only it remembers.
  const known = [...members, ...(answering?.members ?? [])].find(({ id }) => id === answering?.id)?.status ?? joining;
  const others = members.filter((member) => member.address === address && member.id !== answering?.id);
  return {
    status: answering && known,
    replaced: others.find(({ status }) => status === down)?.id,
    change: claimant?.change,
  };
}

interface RunningDev {
  /** Throws a Problem, and runs nothing, where the claimant does not answer. */
  withClaimant<T>(run: (client: CartwheelClient) => Promise<T>): Promise<T>;
  addressOfNode(name: string): string;
  /** Whether its directory is put aside, because it is being replaced. */
  isPutAside(name: string): boolean;
  /** `cartwheel dev NAME NODE`, to be typed by a person. */
  command(name: string, node: string): string;
  /** Throws a Problem where it could not be done, and where it is interrupted one with the hint `ifInterrupted`. */
  ask(request: ControlRequest, ifInterrupted?: string): Promise<ControlAnswer>;
}

async function runningDev(command: Command): Promise<RunningDev> {
  const { data } = command.optsWithGlobals<{ data: string }>();
  const directory = resolve(data);
  const ask = async (request: ControlRequest, ifInterrupted?: string): Promise<ControlAnswer> => {
    const asked = () => askRunning(directory, request);
    const answer = await (ifInterrupted === undefined
      ? asked()
      : unlessInterrupted(
          asked,
          () => new Interrupted('interrupted; what was asked for is done all the same', ifInterrupted),
        ));
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
    isPutAside: (name) => existsSync(asideOf(directory, name)),
    command: (name, node) => `cartwheel dev ${name} ${node}${data === defaultData ? '' : ` --data ${shellWord(data)}`}`,
    addressOfNode(name) {
      const layout = layoutNow();
      const plan = processesOf(layout, directory).find((each) => each.name === name && each.kind === 'storage-node');
      if (plan !== undefined) return addressOf(plan.port);
      throw new Problem(`there is no ${name}`, `there are ${layout.storage.map(storageName).join(', ')}`);
    },
  };
}

/**
 * The claimant may not have heard yet of a node that has only just started, and would then expect it for ever. Throws a Problem
 * where it knows no ring: whoever has lost its directory knows of nobody, and not who has left.
 */
async function isMemberSoon(client: CartwheelClient, address: string): Promise<boolean> {
  for (const giveUpAt = performance.now() + heardOfWithinMs; ; await pause(lookEveryMs)) {
    const status = await client.changes.status();
    if (isMember(status, address)) return true;
    if (performance.now() <= giveUpAt) continue;
    if (status.ring !== undefined) return false;
    throw new Problem(
      `membership-1 knows no ring, and so not whether ${address} has left`,
      'it learns it from the storage nodes: start one of them',
    );
  }
}

function isMember({ members }: GetStatusResponse, address: string): boolean {
  return members.some((member) => member.address === address && member.status !== left);
}

function nodeName(text: string): string {
  if (!/^storage-[1-9]\d?$/.test(text))
    throw new InvalidArgumentError('Wanted the name of a storage node, such as storage-4.');
  return text;
}
