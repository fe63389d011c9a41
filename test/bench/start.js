#!/usr/bin/env node
/** `npm run bench:NAME`: the benchmark NAME.ts with what follows `--`, once all is there that it needs. */
import { join } from 'node:path';
import { bootstrap, root, runWithNode } from '../../bin/bootstrap.js';

const [name, ...flags] = process.argv.slice(2);
// The load shares its cores with what it is a load on: one thread for its garbage, as services have (platform/garbage.ts).
runWithNode(bootstrap(), ['--v8-pool-size=1', join(root, 'test', 'bench', `${name}.ts`), ...flags]);
