import { runProcess } from '../platform/process.ts';
import { readConfig } from './config.ts';
import { startStorageNode } from './server.ts';

runProcess('storage-node', () => startStorageNode(readConfig(process.argv.slice(2), process.env)));
