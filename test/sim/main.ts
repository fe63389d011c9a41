/**
 * The simulation as a command: `usage` says how.
 *
 * Exit code 0: all is well; 1: a promise was broken, or a control was not caught; 2: wrong usage.
 */
import { parseArgs } from 'node:util';
import { controls, runControl } from './controls.ts';
import { type Mark, marks } from './marks.ts';
import { reportOf } from './report.ts';
import { simulate } from './simulation.ts';

const usage = `The whole cluster in one process, under one seed after the other.

  npm run sim -- [--seeds 200] [--first 1]   many seeds; ends at the first that breaks a promise
  npm run sim -- --seed 17 [--trace]         one seed; the last line is the hash of its history
  npm run sim -- --controls --seeds 500      systems built wrong, each of which must be caught
  npm run sim -- --help

Exit code 0: all is well; 1: a promise was broken, or a control was not caught; 2: wrong usage.
`;

const values = readFlags();
if (values.help) {
  process.stdout.write(usage);
  process.exit(0);
}

function readFlags() {
  try {
    return parseArgs({
      options: {
        seeds: { type: 'string', default: '200' },
        first: { type: 'string', default: '1' },
        seed: { type: 'string' },
        trace: { type: 'boolean', default: false },
        controls: { type: 'boolean', default: false },
        help: { type: 'boolean', short: 'h', default: false },
      },
    }).values;
  } catch (error) {
    return refuse(error instanceof Error ? error.message : String(error));
  }
}

function whole(flag: 'seeds' | 'first' | 'seed', text: string): number {
  const number = Number(text);
  if (text !== '' && Number.isSafeInteger(number) && number >= 0) return number;
  return refuse(`--${flag} is ${JSON.stringify(text)}; a whole number is wanted`);
}

function refuse(message: string): never {
  process.stderr.write(`sim: ${message}\n\n${usage}`);
  process.exit(2);
}

async function runOne(seed: number): Promise<boolean> {
  const result = await simulate(seed, { trace: values.trace ? console.log : undefined });
  if (result.violation !== undefined) console.log(reportOf(result));
  console.log(result.hash);
  return result.violation === undefined;
}

async function runMany(first: number, count: number): Promise<boolean> {
  const seen = new Set<Mark>();
  let virtualMs = 0;
  for (let seed = first; seed < first + count; seed++) {
    const result = await simulate(seed);
    for (const mark of result.marks) seen.add(mark);
    virtualMs += result.virtualMs;
    progress(`${seed - first + 1} of ${count} seeds, ${Math.floor(virtualMs / 1_000)} s of virtual time`);
    if (result.violation === undefined) continue;
    progress('');
    console.log(reportOf(result));
    return false;
  }
  progress('');
  console.log(
    `${count} seeds from ${first}: no promise was broken in ${Math.floor(virtualMs / 1_000)} s of virtual time`,
  );
  for (const mark of marks) if (!seen.has(mark)) console.log(`never happened: ${mark}`);
  return true;
}

async function runControls(seeds: number): Promise<boolean> {
  let allCaught = true;
  for (const control of controls) {
    const { caught } = await runControl(control, seeds);
    console.log(`${control.name}: ${control.fault}`);
    if (caught === undefined) {
      console.log(`    NOT CAUGHT in ${seeds} seeds`);
      allCaught = false;
    } else {
      console.log(`    caught by ${caught.by}: ${caught.seen}`);
    }
  }
  return allCaught;
}

function progress(line: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${line}`);
}

const seeds = whole('seeds', values.seeds);
const ok = values.controls
  ? await runControls(seeds)
  : values.seed === undefined
    ? await runMany(whole('first', values.first), seeds)
    : await runOne(whole('seed', values.seed));
process.exitCode = ok ? 0 : 1;
