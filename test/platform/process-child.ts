/** A process that runProcess runs, which behaves as its first argument says (process.test.ts). */
import { integer, loadConfiguration } from '../../services/platform/configuration.ts';
import { type Restart, runProcess, type Stop } from '../../services/platform/process.ts';

const [behaviour, ...argv] = process.argv.slice(2);

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

async function serve(stop: Stop): Promise<Stop> {
  // What a listening port does for a real service.
  setInterval(() => {}, 60_000);
  say('serving');
  return stop;
}

const stopped: Stop = async (cause) => say(`stopped by ${cause}`);

let starts = 0;

const BEHAVIOURS: Readonly<Record<string, (restart: Restart) => Promise<Stop>>> = {
  serve: () => serve(stopped),
  'start-again': async (restart) => {
    starts++;
    if (starts === 1) setTimeout(() => restart('itself'), 10);
    say(`start ${starts}`);
    return serve(stopped);
  },
  'start-again-slowly': async (restart) => {
    setTimeout(() => restart('itself'), 10);
    return serve(async (cause) => {
      say(`stopping for ${cause}`);
      await new Promise((resolve) => setTimeout(resolve, 300));
    });
  },
  'start-slowly': async () => {
    say('starting');
    await new Promise((resolve) => setTimeout(resolve, 300));
    return serve(stopped);
  },
  'never-stop': () =>
    serve(async () => {
      say('stopping');
      await new Promise(() => {});
    }),
  'throw-later': async () => {
    setTimeout(() => {
      throw new Error('a bug');
    }, 10);
    return serve(stopped);
  },
  'reject-later': async () => {
    setTimeout(() => void Promise.reject(new Error('a bug')), 10);
    return serve(stopped);
  },
  configure: async () => {
    const fields = { port: integer({ about: 'a port', min: 1, max: 65_535 }) };
    loadConfiguration({ name: 'child', about: 'a test', fields }, argv, {});
    return serve(stopped);
  },
  fail: async () => {
    throw new Error('the disk is gone');
  },
  'fail-to-stop': () =>
    serve(async () => {
      throw new Error('the sync failed');
    }),
};

runProcess('child', BEHAVIOURS[behaviour ?? ''] ?? (() => Promise.reject(new Error(`no behaviour ${behaviour}`))));
