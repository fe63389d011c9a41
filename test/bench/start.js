#!/usr/bin/env node
/** `npm run bench:NAME`: the benchmark NAME.ts with what follows `--`, once all is there that it needs. */
import { join } from 'node:path';
import { bootstrap, root, runWithNode } from '../../bin/bootstrap.js';

const [name, ...flags] = process.argv.slice(2);
runWithNode(bootstrap(), [join(root, 'test', 'bench', `${name}.ts`), ...flags]);
