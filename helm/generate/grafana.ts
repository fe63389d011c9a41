/** The names of the dashboards; variables and addresses as Grafana writes them. */

/** By what their files and their addresses in Grafana end with. */
export const titles = {
  overview: 'SLO overview',
  nodes: 'Nodes',
  ring: 'Ring and rebalance',
  convergence: 'Convergence and hints',
  storage: 'Storage',
  routers: 'Routers',
  runtime: 'Runtime',
} as const;

export type DashboardName = keyof typeof titles;

/** A variable, also one of Grafana’s own, where it is put into an address or a title. */
export function value(variable: string): string {
  return `$\{${variable}}`;
}

/** `var-NAME=VALUE`, once for each of its values. */
export function asParameter(variable: string): string {
  return value(`${variable}:queryparam`);
}

export const timeRange: string = value('__url_time_range');
export const datasource = { type: 'prometheus', uid: value('datasource') };

/** Under Grafana's own address, whatever that is. */
export function addressOf(dashboard: DashboardName): string {
  return `/d/${uidOf(dashboard)}`;
}

export function uidOf(dashboard: DashboardName): string {
  return `cartwheel-${dashboard}`;
}
