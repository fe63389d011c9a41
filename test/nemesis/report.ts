/** What a run comes to, for a person. */
import { commitText } from '../commit.ts';
import { allFaults } from './faults/all.ts';
import type { Outcome, RunOptions } from './run.ts';

const number = (value: number) => value.toLocaleString('en-US');

export function reportOf(options: RunOptions, outcome: Outcome): string {
  const { counts, faults, obstacles, violations, keys, keysCut, loadMs } = outcome;
  const struck = [...faults.values()].reduce((sum, count) => sum + count, 0);
  const perSecond = Math.round(counts.acknowledged / Math.max(1, loadMs / 1_000));
  const { lost, resurrected, unexplained, other } = violations.counts;
  const lines = [
    `seed ${options.seed}, commit ${commitText()}: ${options.nodes} storage nodes, ${options.clients} clients, ` +
      `${options.workers} workers, ${(loadMs / 1_000).toFixed(0)} s of load and faults`,
    '',
    row('writes', `${number(counts.acknowledged)} acknowledged (${number(perSecond)} a second)`),
    row('', `${number(counts.unknown)} of unknown outcome, ${number(counts.notApplied)} not applied`),
    row('', `${number(counts.retried)} were retried and met two coordinators`),
    row('reads', `${number(counts.reads)} answered, ${number(counts.readsFailed)} failed`),
    ...[...counts.failures].map(([reason, count], i) => row(i === 0 ? 'failures' : '', `${number(count)} ${reason}`)),
    row('keys', `${number(keys)}, ${number(keysCut)} of them with a clock that may have been cut`),
    ...(outcome.membershipDead ? [row('membership', 'dead from the first operation to the last')] : []),
    row('faults', `${number(struck)} of ${faults.size} kinds`),
    ...[...faults]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([kind, count]) => row('', `${number(count).padStart(4)} ${kind}`)),
    ...[...obstacles].map(([kind, why]) => row('', `   - ${kind}: ${why}`)),
    '',
    row('lost', number(lost)),
    row('resurrected', number(resurrected)),
    row('unexplained', number(unexplained)),
    row('other', number(other)),
  ];
  for (const found of violations.found) {
    const { violation, key } = found;
    lines.push('', `broken: ${violation.promise}: ${violation.message}`);
    const history = outcome.histories.get(found) ?? [];
    if (history.length > 0) lines.push(`    what happened to ${key}:`, ...history.map((line) => `    ${line}`));
  }
  if (violations.any) lines.push('', `again: npm run nemesis -- ${flagsOf(options)}`);
  if (outcome.kept !== undefined) lines.push('', `logs, data and the history are in ${outcome.kept}`);
  lines.push('', verdictOf(outcome));
  return lines.join('\n');
}

function verdictOf({ interrupted, violations }: Outcome): string {
  if (violations.any) return 'a promise was broken';
  return interrupted ? 'interrupted before the last check' : 'no promise was broken';
}

function row(head: string, text: string): string {
  return `${head.padEnd(12)} ${text}`;
}

function flagsOf({ seed, faultsMs, nodes, clients, workers, faults, membershipDead, control }: RunOptions): string {
  const flags = [`--seed ${seed} --minutes ${faultsMs / 60_000} --nodes ${nodes} --clients ${clients}`];
  flags.push(`--workers ${workers}`);
  if (faults !== allFaults) flags.push(`--faults '${faults.map(({ kind }) => kind).join(',')}'`);
  if (membershipDead) flags.push('--no-membership');
  if (control !== undefined) flags.push(`--control ${control}`);
  return flags.join(' ');
}
