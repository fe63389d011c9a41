#!/usr/bin/env node
/** `npm run bench:claim`: writes docs/load-balance.md (balance.ts). */
import { join } from 'node:path';
import { bootstrap, root, runWithNode } from '../../bin/bootstrap.js';

runWithNode(bootstrap(), [join(root, 'test', 'bench', 'balance.ts')]);
