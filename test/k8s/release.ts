/** The release that the tests install: on whatever KUBECONFIG names, with the image that CARTWHEEL_IMAGE names. */
import { chart, done, isThere, run } from './tools.ts';

/** REPOSITORY:TAG, where every node can get it. */
export const image = process.env.CARTWHEEL_IMAGE ?? '';
const missing = process.env.KUBECONFIG === undefined || image === '';
export const skip = missing || !(await isThere('helm')) ? 'it needs KUBECONFIG, CARTWHEEL_IMAGE and helm' : false;

export const namespace = 'cartwheel-test';
export const release = 'cartwheel';
export const storage = 'statefulset/cartwheel-storage';
export const router = 'deployment/cartwheel-router';
export const membership = 'statefulset/cartwheel-membership';

const [repository = '', tag = ''] = image.split(/:(?=[^:/]*$)/);
const settings = [
  ...['--set', `image.repository=${repository}`, '--set', `image.tag=${tag}`, '--set', 'image.pullPolicy=Never'],
  ...['--values', `${chart}/ci/small.yaml`, '--set', 'router.replicas=2', '--set', 'membership.replicas=2'],
  // Exchanges are on the dashboards too.
  ...['--set', 'storage.replaceAutomatically=true', '--set', 'storage.config.exchange-every=10s'],
];

export const kubectl = (...args: string[]) => done('kubectl', '-n', namespace, ...args);
export const helm = (command: string, ...args: string[]) => done('helm', '-n', namespace, command, release, ...args);
export const install = () => helm('install', chart, ...settings);
export const upgrade = (...args: string[]) => helm('upgrade', chart, ...settings, ...args, '--timeout', '5m');
/** How it is called, and with what it ended. */
export const upgradeTried = (...args: string[]) =>
  run('helm', ['-n', namespace, 'upgrade', release, chart, ...settings, '--timeout', '5m', ...args]);
export const withNodes = (replicas: number) => ['--set', `storage.replicas=${replicas}`];

/** Of the release as it is deployed. */
export async function revision(): Promise<string> {
  const history: { revision: number; status: string }[] = JSON.parse(await helm('history', '-o', 'json'));
  return String(history.findLast(({ status }) => status === 'deployed')?.revision);
}

export const ready = async (what: string) => void (await kubectl('rollout', 'status', what, '--timeout=300s'));
export async function allReady(): Promise<void> {
  for (const what of [storage, router, membership]) await ready(what);
}

/** Such as `pod/cartwheel-storage-0`. */
export const pods = async (component: string) =>
  (await kubectl('get', 'pods', '-l', `app.kubernetes.io/component=${component}`, '-o', 'name')).trim().split('\n');
/** The Kubernetes node that it is on. */
export const hostOf = (pod: string) => kubectl('get', 'pod', pod, '-o', 'jsonpath={.spec.nodeName}');
export const spec = () => kubectl('get', storage, '-o', 'jsonpath={.spec.replicas} {.metadata.generation}');

/** The command line in a storage pod. */
export const cartwheel = (pod: string, ...args: string[]) =>
  kubectl('exec', pod, '-c', 'storage-node', '--', 'cartwheel', ...args);

const membershipAddresses = [0, 1].map((i) => `cartwheel-membership-${i}.cartwheel-membership:7441`).join();

/** Of what has changed in the ring, as `cartwheel ring status` says it. */
export async function claimant(
  pod = 'cartwheel-storage-0',
): Promise<{ readonly waitingFor: string; readonly change?: object }> {
  const said = await cartwheel(pod, '--endpoint', membershipAddresses, 'ring', 'status', '-o', 'json');
  return JSON.parse(said).claimant;
}
