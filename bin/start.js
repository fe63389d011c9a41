#!/usr/bin/env node
/** `npm start`: a whole cluster on this machine; what follows `--` goes to `cartwheel dev`. */
import { join } from 'node:path';
import { bootstrap, root, runWithNode } from './bootstrap.js';

runWithNode(bootstrap(), [join(root, 'cli', 'main.ts'), 'dev', ...process.argv.slice(2)]);
