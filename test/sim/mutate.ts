/**
 * Loaded with `--import …/mutate.ts?control=NAME`: replaces the control's snippets in their files when those are
 * loaded. The process fails where a snippet is not there exactly once, or a file is never loaded.
 */
import { registerHooks } from 'node:module';
import { controls } from './controls.ts';

const name = new URL(import.meta.url).searchParams.get('control');
const control = controls.find((known) => known.name === name);
if (control === undefined) {
  throw new Error(`no control "${name}"; there are ${controls.map((known) => known.name).join(', ')}`);
}
const urlOf = (file: string) => new URL(`../../${file}`, import.meta.url).href;
const left = new Set(control.edits.map(({ file }) => file));

registerHooks({
  load(url, context, nextLoad) {
    const loaded = nextLoad(url, context);
    const edits = control.edits.filter(({ file }) => urlOf(file) === url);
    if (edits.length === 0) return loaded;
    let source = Buffer.from((loaded.source ?? '') as Uint8Array | string).toString();
    for (const { file, snippet, replacement } of edits) {
      const places = source.split(snippet).length - 1;
      if (places !== 1)
        throw new Error(`${file} has the snippet of the control ${name} ${places} times, not once: ${snippet}`);
      source = source.replace(snippet, () => replacement);
      left.delete(file);
    }
    return { ...loaded, source };
  },
});

process.on('exit', () => {
  if (left.size === 0) return;
  process.stderr.write(`the control ${name} never met its file ${[...left].join(', ')}\n`);
  process.exitCode = 2;
});
