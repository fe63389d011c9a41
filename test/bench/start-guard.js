#!/usr/bin/env node
/** `npm run bench:guard`: this tree beside its parent; what follows `--` goes to guard.ts. */
import { join } from 'node:path';
import { bootstrap, root, runWithNode } from '../../bin/bootstrap.js';

runWithNode(bootstrap(), [join(root, 'test', 'bench', 'guard.ts'), ...process.argv.slice(2)]);
