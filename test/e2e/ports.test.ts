import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { devPorts } from '../../cli/dev/layout.ts';
import { freeBasePort, freePorts } from './ports.ts';

const program = `
  import { freeBasePort, freePorts } from '${fileURLToPath(new URL('ports.ts', import.meta.url))}';
  const ports = [];
  for (let i = 0; i < 40; i++) ports.push(...(await freePorts(10)));
  for (let i = 0; i < 3; i++) {
    const base = await freeBasePort();
    for (let j = 0; j < ${devPorts}; j++) ports.push(base + j);
  }
  console.log(JSON.stringify(ports));
  process.stdin.resume(); // until the others have theirs
`;

test('no port is given twice, here or to those that run beside it', async () => {
  const some = Array.from({ length: 40 }, () => freePorts(10));
  const allFrom = async (base: Promise<number>) => {
    const first = await base;
    return Array.from({ length: devPorts }, (_, i) => first + i);
  };
  const dev = Array.from({ length: 3 }, () => allFrom(freeBasePort()));
  const others = [0, 1].map(() => spawn(process.execPath, ['--input-type=module', '-e', program]));
  const printed = others.map(
    async ({ stdout }): Promise<number[]> => JSON.parse(String((await once(stdout, 'data'))[0])),
  );
  const ports = (await Promise.all([...some, ...dev, ...printed])).flat();
  for (const { stdin } of others) stdin.end();
  assert.equal(ports.length, 3 * (40 * 10 + 3 * devPorts));
  assert.equal(new Set(ports).size, ports.length);
});
