#!/usr/bin/env node
/** `npm run bench:growth`: what grows with a cluster; what follows `--` goes to growth.ts. */
import { join } from 'node:path';
import { bootstrap, root, runWithNode } from '../../bin/bootstrap.js';

runWithNode(bootstrap(), [join(root, 'test', 'bench', 'growth.ts'), ...process.argv.slice(2)]);
