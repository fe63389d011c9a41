import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Problem } from '../../cli/problem.ts';
import { runProgram } from './program.ts';

test('a program whose line cannot be taken is ended, and that is what is thrown', { timeout: 60_000 }, async () => {
  const talk = "console.log('line'); setInterval(() => {}, 1000)";
  const refusal = new Problem('a node has ended');
  const refuse = () => {
    throw refusal;
  };
  await assert.rejects(runProgram(process.execPath, ['-e', talk], new AbortController().signal, refuse), refusal);
});
