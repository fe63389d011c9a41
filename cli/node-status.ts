/** NodeStatus of kv.proto, not imported: a command that only shows it need not wait for the contracts to load. */
const names = ['?', 'joining', 'up', 'leaving', 'left', 'down'] as const;

export const joining = 1;
export const up = 2;
export const leaving = 3;
/** It owns nothing any more, and its address may be another one's by now. */
export const left = 4;
/** Marked so by an operator: nobody waits for it. */
export const down = 5;

export function statusName(status: number): string {
  return names[status] ?? '?';
}
