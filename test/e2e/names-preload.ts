/** Loaded before a process of a test: names that end in ".test" lead where the JSON file NAMES_FILE says at each question. */
import dns from 'node:dns';
import { readFileSync } from 'node:fs';

type Found = readonly { readonly address: string; readonly family: number }[];
type Done = (error: Error | null, found?: Found | string, family?: number) => void;

const ask = dns.lookup as (name: string, options: object, done: Done) => void;

/** As the callback of Node.js, for who listens, and as a promise, for gRPC. */
function lookup(name: string, options: { readonly all?: boolean }, done: Done): void {
  if (!name.endsWith('.test')) {
    ask(name, options, done);
    return;
  }
  const address: string | undefined = JSON.parse(readFileSync(process.env.NAMES_FILE as string, 'utf8'))[name];
  if (address === undefined) {
    const error = Object.assign(new Error(`getaddrinfo ENOTFOUND ${name}`), { code: 'ENOTFOUND' });
    process.nextTick(done, error);
  } else if (options.all) process.nextTick(done, null, [{ address, family: 4 }]);
  else process.nextTick(done, null, address, 4);
}

Object.assign(dns, { lookup });
Object.assign(dns.promises, {
  lookup: (name: string) =>
    new Promise((resolve, reject) => {
      lookup(name, { all: true }, (error, found) => (error ? reject(error) : resolve(found)));
    }),
});
