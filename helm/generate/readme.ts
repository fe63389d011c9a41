/** The README of the chart: what it installs, and its values with the comments of values.yaml. */
import { type Value, valuesOf } from './values.ts';

/** Where the values that several components have are explained. */
const explained = 'storage';

export function chartReadme(yaml: string): string {
  const values = valuesOf(yaml);
  const groups = values.filter(({ path }) => !path.includes('.'));
  return `<!-- Written by \`npm run chart:generate\` from the comments of values.yaml. -->
# The chart cartwheel

An always-writable key/value store in the manner of Amazon's Dynamo on Kubernetes: storage nodes, routers and membership.
How to install it and what happens when is in docs/kubernetes.md of the project; what is measured and when somebody is
called, in docs/metrics.md and docs/slo.md.

\`\`\`
helm install cartwheel helm/cartwheel --set image.repository=REGISTRY/cartwheel
\`\`\`

A value that is not here, or not what it may be, is refused with the path of its key.

${groups.map((group) => section(group, values)).join('\n')}`;
}

function section({ path: group, comment }: Value, values: readonly Value[]): string {
  const rows = values.flatMap(({ path, value }) => {
    if (value === undefined || !path.startsWith(`${group}.`)) return [];
    return `| \`${path}\` | \`${value}\` | ${meaningOf(path, values).replaceAll('|', '\\|')} |`;
  });
  const intro = comment === '' ? '' : `${comment}\n\n`;
  return `## ${group}\n\n${intro}| value | default | what |\n|---|---|---|\n${rows.join('\n')}\n`;
}

/** Its comment, or else that of what it is a part of, or else where the same value of another component has one. */
function meaningOf(path: string, values: readonly Value[]): string {
  const own = commentOf(path, values);
  if (own !== '') return own;
  const same = [explained, ...path.split('.').slice(1)].join('.');
  return commentOf(same, values) === '' ? '' : `As \`${same}\`.`;
}

function commentOf(path: string, values: readonly Value[]): string {
  for (let at = path; at.includes('.'); at = at.slice(0, at.lastIndexOf('.'))) {
    const comment = values.find((value) => value.path === at)?.comment ?? '';
    if (comment !== '') return comment;
  }
  return '';
}
