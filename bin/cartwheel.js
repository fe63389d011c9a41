#!/usr/bin/env node
/** `npx cartwheel …` in a clone. */
import { join } from 'node:path';
import { bootstrap, root, runWithNode } from './bootstrap.js';

runWithNode(bootstrap(), [join(root, 'cli', 'main.ts'), ...process.argv.slice(2)]);
