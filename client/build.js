#!/usr/bin/env node
/**
 * Makes what is published of the client: JavaScript and types in client/dist, of every file that index.ts leads to.
 * `npm pack` in client/ runs it.
 */
import { copyFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { bootstrap, root, run, tool } from '../bin/bootstrap.js';

bootstrap();
rmSync(join(root, 'client', 'dist'), { recursive: true, force: true });
run(tool('tsc'), ['--project', 'client/tsconfig.json'], 'the client does not compile; the output above says why');
copyFileSync(join(root, 'LICENSE'), join(root, 'client', 'LICENSE'));
