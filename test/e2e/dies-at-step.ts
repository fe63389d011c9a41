/**
 * Loaded into a membership process before its own program (--import this?at=N): from SIGUSR2 on it counts each moment
 * just before and just after a file of it is replaced, and kills itself, with SIGKILL, at the Nth. What it has said to
 * others by then rests on what is on its disk; what it would have said next nobody has heard.
 */
import { promises } from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';

const at = Number(new URL(import.meta.url).searchParams.get('at'));
let isArmed = false;
let steps = 0;
process.on('SIGUSR2', () => {
  isArmed = true;
});

async function step(): Promise<void> {
  if (!isArmed || ++steps !== at) return;
  process.kill(process.pid, 'SIGKILL');
  await new Promise(() => {}); // it is delivered before long, and nothing may happen until then
}

const { rename } = promises;
promises.rename = async (from, to) => {
  await step();
  await rename(from, to);
  await step();
};
syncBuiltinESMExports();
