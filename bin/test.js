#!/usr/bin/env node
/**
 * `npm test`: lint, types, contracts, then every test, ending with the summary of Node's test runner.
 * `USAGE` says how.
 */
import { spawn } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join, sep } from 'node:path';
import { bootstrap, fail, root, runWithNode, say, tool } from './bootstrap.js';

const CHECKS = [
  ['biome', 'check', '--error-on-warnings', '.'],
  ['tsc', '--noEmit'],
  ['buf', 'lint'],
];
/** Only stops a hang: no single file may need this long. */
const FILE_TIMEOUT_MS = 5 * 60_000;

const USAGE = `Lint, types, contracts, then every test, ending with the summary of Node's test runner.

  npm test                            all of it
  npm test -- --quick                 no static checks, and no tests that start processes (test/e2e)
  npm test -- test/core/a.test.ts     these files only
  npm test -- --help
`;

const args = process.argv.slice(2);
if (args.includes('--help') || args.includes('-h')) {
  process.stdout.write(USAGE);
  process.exit(0);
}
const isQuick = args.includes('--quick');
const named = args.filter((arg) => arg !== '--quick');
const unknown = named.find((arg) => arg.startsWith('-'));
if (unknown) {
  process.stderr.write(`cartwheel: ${unknown}: no such flag\n\n${USAGE}`);
  process.exit(2);
}

const node = bootstrap();
process.chdir(root);
if (!isQuick && named.length === 0) await check();
const files = named.length > 0 ? named : everyTest().filter((file) => !isQuick || !file.includes(`${sep}e2e${sep}`));
if (files.length === 0) fail('no test/**/*.test.ts');
const flags = ['--test', `--test-concurrency=${availableParallelism()}`, `--test-timeout=${FILE_TIMEOUT_MS}`];
runWithNode(node, [...flags, '--test-reporter=spec', ...files]);

function everyTest() {
  return readdirSync('test', { recursive: true })
    .filter((file) => file.endsWith('.test.ts'))
    .map((file) => join('test', file))
    .sort();
}

/** All at once; a failed one shows its output, and its name last. */
async function check() {
  say(`checking: ${CHECKS.map((words) => words.slice(0, 2).join(' ')).join(', ')}`);
  const failed = [];
  await Promise.all(
    CHECKS.map(async ([name, ...rest]) => {
      const { code, output } = await capture(tool(name), rest);
      if (code === 0) return;
      process.stderr.write(output);
      failed.push(`${name} ${rest.join(' ')}`);
    }),
  );
  if (failed.length > 0) fail(`failed: ${failed.join('; ')}`);
}

function capture(command, rest) {
  return new Promise((resolve) => {
    const child = spawn(command, rest, { stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    const add = (chunk) => {
      output += chunk;
    };
    child.stdout.on('data', add);
    child.stderr.on('data', add);
    child.on('error', (error) => resolve({ code: 1, output: `${command}: ${error.message}\n` }));
    child.on('close', (code) => resolve({ code, output }));
  });
}
