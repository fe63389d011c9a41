import { DamagedData } from '../core/damaged-data.ts';
import { runProcess } from '../platform/process.ts';
import { readConfig } from './config.ts';
import { startStorageNode } from './server.ts';

runProcess('storage-node', async (restart) => {
  const config = readConfig(process.argv.slice(2), process.env);
  try {
    return await startStorageNode(config, restart);
  } catch (error) {
    if (!(error instanceof DamagedData)) throw error;
    return startStorageNode(config, restart); // on what could be read
  }
});
