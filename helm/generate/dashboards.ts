/** What the dashboards show, in the order of their list. `npm run chart:generate` writes them into the chart. */
import { convergence } from './dashboards/convergence.ts';
import { nodes } from './dashboards/nodes.ts';
import { overview } from './dashboards/overview.ts';
import { ring } from './dashboards/ring.ts';
import { routers } from './dashboards/routers.ts';
import { runtime } from './dashboards/runtime.ts';
import { storage } from './dashboards/storage.ts';
import type { DashboardPlan } from './frame.ts';

export const dashboards: readonly DashboardPlan[] = [overview, nodes, ring, convergence, storage, routers, runtime];
