/** CPU profiles as V8 writes them, added up into one tree of calls. Pure. */

/** What is used of a .cpuprofile. */
export interface CpuProfile {
  readonly nodes: readonly {
    readonly id: number;
    readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number };
    readonly children?: readonly number[];
  }[];
  /** The node that each sample met, and microseconds since the sample before. */
  readonly samples: readonly number[];
  readonly timeDeltas: readonly number[];
}

export interface Call {
  readonly name: string;
  /** Below the clone, `node:…`, or empty for what has no source. */
  readonly file: string;
  /** Microseconds, here and in what it called. */
  total: number;
  /** Here alone. */
  self: number;
  readonly calls: Map<string, Call>;
}

export function newCall(name: string, file: string): Call {
  return { name, file, total: 0, self: 0, calls: new Map() };
}

/** Adds a profile to the tree below `root`, without the time in which the thread had nothing to do, or began and ended the profile. */
export function addProfile(root: Call, { nodes, samples, timeDeltas }: CpuProfile, clone: string): void {
  const selfOf = new Map<number, number>();
  samples.forEach((id, i) => {
    selfOf.set(id, (selfOf.get(id) ?? 0) + Math.max(0, timeDeltas[i] ?? 0));
  });
  const byId = new Map(nodes.map((node) => [node.id, node]));
  const add = (parent: Call, id: number): number => {
    const node = byId.get(id);
    if (node === undefined || isNoWork(node.callFrame)) return 0;
    const call = callOf(parent, node.callFrame, clone);
    const self = selfOf.get(id) ?? 0;
    const total = (node.children ?? []).reduce((sum, child) => sum + add(call, child), self);
    call.self += self;
    call.total += total;
    return total;
  };
  for (const child of nodes[0]?.children ?? []) root.total += add(root, child);
}

function isNoWork({ functionName, url }: CpuProfile['nodes'][number]['callFrame']): boolean {
  return functionName === '(idle)' || url.endsWith('/flame/profile-on-signal.ts');
}

function callOf(
  parent: Call,
  { functionName, url, lineNumber }: CpuProfile['nodes'][number]['callFrame'],
  clone: string,
): Call {
  const file = fileOf(url, clone);
  const key = `${functionName} ${file}:${lineNumber}`;
  const known = parent.calls.get(key);
  if (known !== undefined) return known;
  const made = newCall(functionName === '' ? `(line ${lineNumber + 1})` : functionName, file);
  parent.calls.set(key, made);
  return made;
}

function fileOf(url: string, clone: string): string {
  const path = decodeURIComponent(url.replace(/^file:\/\//, ''));
  if (path.startsWith(`${clone}/`)) return path.slice(clone.length + 1);
  const inModules = path.lastIndexOf('node_modules/');
  return inModules >= 0 ? path.slice(inModules) : path;
}

/** The time of each function itself, wherever it was called; the largest first. */
export function selfTimes(root: Call, keyOf: (call: Call) => string): [key: string, share: number][] {
  const sums = new Map<string, number>();
  const visit = (call: Call) => {
    if (call.self > 0) sums.set(keyOf(call), (sums.get(keyOf(call)) ?? 0) + call.self);
    for (const below of call.calls.values()) visit(below);
  };
  visit(root);
  return [...sums].map(([key, self]): [string, number] => [key, self / root.total]).sort(([, a], [, b]) => b - a);
}
