/**
 * What the claimant remembers (core/membership/course.ts) in a ConfigMap: what one had begun, the next one goes on with, on
 * another machine. Compressed, for a ConfigMap has at most 1 MiB.
 */
import { gunzipSync, gzipSync } from 'node:zlib';
import { type Course, noCourse } from '../core/membership/course.ts';
import { type Kubernetes, KubernetesRefused } from '../platform/kubernetes/api.ts';
import { decodeCourse, encodeCourse } from './course-file.ts';

export interface KeptCourse {
  readonly kept: Course;
  /** Rejects where it could not be made durable, or is not known to be. One call at a time. */
  keep(course: Course): Promise<void>;
  /** Somebody else has written it since, or the answer to a write was lost: it has to be opened again. */
  isStale(): boolean;
}

const KEY = 'goal';

export async function openCourseMap(kubernetes: Kubernetes, name: string): Promise<KeptCourse> {
  let map = await kubernetes.configMap(name);
  let isStale = false;
  const bytes = map.binaryData[KEY];
  return {
    kept: bytes === undefined ? noCourse : decodeCourse(gunzipSync(Buffer.from(bytes, 'base64'))),
    async keep(course) {
      const binaryData = { [KEY]: gzipSync(encodeCourse(course)).toString('base64') };
      try {
        map = await kubernetes.replaceConfigMap(map, { data: {}, binaryData });
      } catch (error) {
        isStale ||= error instanceof KubernetesRefused && error.code === 409;
        throw error;
      }
    },
    isStale: () => isStale,
  };
}
