/** What the dashboards show, in the order of their list. `npm run chart:generate` writes them into the chart. */
import { changes } from './dashboards/changes.ts';
import { nodes } from './dashboards/nodes.ts';
import { overview } from './dashboards/overview.ts';
import { replication } from './dashboards/replication.ts';
import { routers } from './dashboards/routers.ts';
import { runtime } from './dashboards/runtime.ts';
import { storage } from './dashboards/storage.ts';
import type { Dashboard } from './grafana.ts';

export const dashboards: readonly Dashboard[] = [overview, nodes, routers, storage, replication, changes, runtime];
