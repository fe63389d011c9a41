#!/usr/bin/env node
/** `npm run bench:peers`: Cartwheel beside etcd and Cassandra on this machine; what follows `--` goes to peers.ts. */
import { join } from 'node:path';
import { bootstrap, root, runWithNode } from '../../bin/bootstrap.js';

runWithNode(bootstrap(), [join(root, 'test', 'bench', 'peers.ts'), ...process.argv.slice(2)]);
