/** What Cartwheel is to reach beside its peers, and what it has reached. Pure. */
import { byLoad, loadName, type Summary } from './report.ts';
import { markdown, significant, storeName } from './tables.ts';

interface Aim {
  readonly workers: number;
  readonly ratePerSecond: number;
  readonly figure: string;
  readonly of: (summary: Summary) => number;
  readonly store: string;
  readonly beside: string;
  /** The ratio is to be at least, or at most, so much. */
  readonly bound: 'at least' | 'at most';
  readonly ratio: number;
}

const throughput: readonly Pick<Aim, 'figure' | 'of' | 'bound'>[] = [
  { figure: 'ops/s', of: (summary) => summary.operationsPerSecond.mean, bound: 'at least' },
  {
    figure: 'ops per server CPU-s',
    of: (summary) => summary.operationsPerServerCpuSecond.mean,
    bound: 'at least',
  },
];
const tails: readonly Pick<Aim, 'figure' | 'of' | 'bound'>[] = [
  { figure: 'read p99.9', of: (summary) => summary.reads.p999, bound: 'at most' },
  { figure: 'write p99.9', of: (summary) => summary.writes.p999, bound: 'at most' },
];
const medians: readonly Pick<Aim, 'figure' | 'of' | 'bound'>[] = [
  { figure: 'read p50', of: (summary) => summary.reads.p50, bound: 'at most' },
  { figure: 'write p50', of: (summary) => summary.writes.p50, bound: 'at most' },
];

const direct = { store: 'cartwheel, direct' };
const router = { store: 'cartwheel, router', beside: 'cartwheel, direct' };
const closed = (workers: number) => ({ workers, ratePerSecond: 0 });
const open = { workers: 256, ratePerSecond: 2000 };

/** Of values of 1 KiB, half reads, zipfian. */
const aims: readonly Aim[] = [
  ...throughput.map((what) => ({ ...what, ...direct, ...closed(64), beside: 'cassandra', ratio: 3 })),
  ...throughput.map((what) => ({ ...what, ...direct, ...closed(64), beside: 'etcd', ratio: 2 })),
  ...throughput.map((what) => ({ ...what, ...direct, ...closed(256), beside: 'cassandra', ratio: 5 })),
  ...throughput.map((what) => ({ ...what, ...direct, ...closed(256), beside: 'etcd', ratio: 3 })),
  ...tails.map((what) => ({ ...what, ...direct, ...open, beside: 'cassandra', ratio: 1 / 10 })),
  ...tails.map((what) => ({ ...what, ...direct, ...open, beside: 'etcd', ratio: 1 / 4 })),
  ...throughput.slice(0, 1).flatMap((what) => [64, 256].map((n) => ({ ...what, ...router, ...closed(n), ratio: 0.6 }))),
  ...[...medians, ...tails].map((what) => ({ ...what, ...router, ...open, ratio: 1.5 })),
];

/** Empty where nothing that there is an aim for was measured. */
export function aimsTable(summaries: readonly Summary[]): string {
  const usual = summaries.filter(
    ({ valueBytes, readFraction, distribution }) =>
      valueBytes === 1024 && readFraction === 0.5 && distribution === 'zipfian',
  );
  const rows = byLoad(usual).flatMap((group) =>
    aims
      .filter(({ workers, ratePerSecond }) =>
        group.some((s) => s.workers === workers && s.ratePerSecond === ratePerSecond),
      )
      .flatMap((aim) => {
        const a = group.find((summary) => storeName(summary) === aim.store);
        const b = group.find((summary) => storeName(summary) === aim.beside);
        return a === undefined || b === undefined ? [] : [aimRow(aim, aim.of(a) / aim.of(b))];
      }),
  );
  return rows.length === 0 ? '' : markdown(['load', 'figure', 'ratio', 'wanted', 'reached', ''], rows);
}

function aimRow(aim: Aim, reached: number): string[] {
  const isMet = aim.bound === 'at least' ? reached >= aim.ratio : reached <= aim.ratio;
  return [
    loadName(aim),
    aim.figure,
    `${aim.store} : ${aim.beside}`,
    `${aim.bound} ${significant(aim.ratio)}×`,
    `${significant(reached)}×`,
    isMet ? 'met' : '**missed**',
  ];
}
