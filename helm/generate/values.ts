/**
 * The values of the chart with the comments above them, from values.yaml as it is kept here: two spaces a level, maps in
 * blocks or on one line, a comment above what it explains.
 */

export interface Value {
  /** Dotted. */
  readonly path: string;
  /** As it is written; undefined where more values follow below it. */
  readonly value: string | undefined;
  readonly comment: string;
}

export function valuesOf(yaml: string): readonly Value[] {
  const values: Value[] = [];
  const path: string[] = [];
  let comment: string[] = [];
  for (const [i, line] of yaml.split('\n').entries()) {
    const [, spaces = '', word = '', rest = ''] = /^( *)(?:#|([\w]+):) ?(.*)$/.exec(line) ?? [];
    if (line === '') comment = [];
    else if (/^ *#/.test(line)) comment.push(rest);
    else {
      if (word === '' || spaces.length % 2 !== 0 || spaces.length / 2 > path.length) {
        throw new Error(`values.yaml, line ${i + 1} is no value as this reads them: ${line}`);
      }
      path.splice(spaces.length / 2, path.length, word);
      values.push({ path: path.join('.'), value: rest === '' ? undefined : rest, comment: comment.join(' ') });
      comment = [];
    }
  }
  return values;
}
