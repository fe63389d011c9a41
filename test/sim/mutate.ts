/**
 * Loaded with `--import …/mutate.ts?control=NAME`: replaces the control's snippet in its file when that is
 * loaded. The process fails where the snippet is not there exactly once, or the file is never loaded.
 */
import { registerHooks } from 'node:module';
import { controls } from './controls.ts';

const name = new URL(import.meta.url).searchParams.get('control');
const control = controls.find((known) => known.name === name);
if (control === undefined) {
  throw new Error(`no control "${name}"; there are ${controls.map((known) => known.name).join(', ')}`);
}
const { file, snippet, replacement } = control;
const target = new URL(`../../${file}`, import.meta.url).href;
let replaced = false;

registerHooks({
  load(url, context, nextLoad) {
    const loaded = nextLoad(url, context);
    if (url !== target) return loaded;
    const source = Buffer.from((loaded.source ?? '') as Uint8Array | string).toString();
    const places = source.split(snippet).length - 1;
    if (places !== 1)
      throw new Error(`${file} has the snippet of the control ${name} ${places} times, not once: ${snippet}`);
    replaced = true;
    return { ...loaded, source: source.replace(snippet, () => replacement) };
  },
});

process.on('exit', () => {
  if (replaced) return;
  process.stderr.write(`the control ${name} never met its file ${file}\n`);
  process.exitCode = 2;
});
