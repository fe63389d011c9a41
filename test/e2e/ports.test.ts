import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { freePorts } from './ports.ts';

const program = `
  import { freePorts } from '${fileURLToPath(new URL('ports.ts', import.meta.url))}';
  const ports = [];
  for (let i = 0; i < 40; i++) ports.push(...(await freePorts(10)));
  console.log(JSON.stringify(ports));
  process.stdin.resume(); // until the others have theirs
`;

test('no port is given twice, here or to those that run beside it', async () => {
  const own = async () => (await Promise.all(Array.from({ length: 40 }, () => freePorts(10)))).flat();
  const others = [0, 1].map(() => spawn(process.execPath, ['--input-type=module', '-e', program]));
  const printed = others.map(
    async ({ stdout }): Promise<number[]> => JSON.parse(String((await once(stdout, 'data'))[0])),
  );
  const ports = (await Promise.all([own(), ...printed])).flat();
  for (const { stdin } of others) stdin.end();
  assert.equal(ports.length, 1_200);
  assert.equal(new Set(ports).size, ports.length);
});
