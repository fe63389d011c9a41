/** Writes what of the chart is made of something else: `npm run chart:generate`. */
import { writeFileSync } from 'node:fs';
import { chartFiles } from './chart-files.ts';

for (const [path, content] of chartFiles()) writeFileSync(path, content);
