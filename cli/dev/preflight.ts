/** What can be found out before anything is started: free ports, and the end of an earlier run. */
import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { note } from '../output.ts';
import { pause } from '../pause.ts';
import { Problem } from '../problem.ts';
import { storedPids } from './directory.ts';
import { loopback, type ProcessPlan } from './layout.ts';

/** Children end within 10 s of their dev's death (leash.ts); a little more than that. */
const leftoversEndMs = 12_000;

/** Throws a Problem that names every port that is taken. Waits for processes of a run whose dev was killed. */
export async function requirePorts(plans: readonly ProcessPlan[], dataDirectory: string): Promise<void> {
  let taken = await takenPorts(plans);
  const deadline = Date.now() + leftoversEndMs;
  let told = false;
  while (taken.length > 0 && Date.now() < deadline && leftovers(dataDirectory, plans).length > 0) {
    if (!told) note(`waiting for processes of the last run to end: ${leftovers(dataDirectory, plans).join(', ')}`);
    told = true;
    await pause(100);
    taken = await takenPorts(plans);
  }
  if (taken.length === 0) return;
  throw new Problem(
    `${taken.length === 1 ? 'a port is' : `${taken.length} ports are`} in use: ${taken.join(', ')}`,
    'end what listens there, or choose other ports with --base-port, such as --base-port 8400',
  );
}

async function takenPorts(plans: readonly ProcessPlan[]): Promise<string[]> {
  const ports = plans.flatMap(({ name, port, adminPort }) => [
    { port, text: `${port} (${name})` },
    { port: adminPort, text: `${adminPort} (${name} admin)` },
  ]);
  const free = await Promise.all(ports.map(({ port }) => isFree(port)));
  return ports.filter((_, i) => !free[i]).map(({ text }) => text);
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen({ port, host: loopback, exclusive: true }, () => server.close(() => resolve(true)));
  });
}

/** Processes of the last run that still live. A process id may be somebody else's by now: the command line tells. */
function leftovers(dataDirectory: string, plans: readonly ProcessPlan[]): string[] {
  const pids = storedPids(dataDirectory);
  return plans
    .filter(({ name, script }) => {
      const pid = pids[name];
      return Number.isSafeInteger(pid) && commandLine(pid as number).includes(script);
    })
    .map(({ name }) => `${name} (pid ${pids[name]})`);
}

/** '' for a process that is gone, and where there is no /proc. */
function commandLine(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8');
  } catch {
    return '';
  }
}
