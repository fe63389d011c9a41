import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Metadata, type ServiceError, status } from '@grpc/grpc-js';
import { OperationError, Outcome, Reason } from '../../proto/gen/cartwheel/kv/v1/kv.ts';
import { Failure, type FailureDetails, type ReasonName } from '../../services/core/failure.ts';
import {
  asFailure,
  fromOperationError,
  fromServiceError,
  reasonCode,
  toOperationError,
  toServiceError,
} from '../../services/platform/errors.ts';
import { recordingLog } from './recording-log.ts';

const REASONS = Object.keys(Reason).filter((name) => name !== 'UNSPECIFIED') as ReasonName[];
const DETAILS: FailureDetails = {
  field: 'key',
  outcome: 'UNKNOWN',
  retryAfterMs: 1_250,
  receipt: {
    acks: [{ nodeId: 'n1', zone: 'z1', durable: true, hintedFor: '', pending: false }],
    dot: 'a:1',
    ring: { term: 1n, sequence: 2n },
    pendingMissed: ['n2'],
  },
};

test('every reason of the contract goes over the wire and comes back the same', () => {
  assert.equal(REASONS.length, 28);
  for (const reason of REASONS) {
    for (const details of [DETAILS, { outcome: 'NOT_APPLIED' } as const]) {
      const failure = new Failure(reason, `${reason}: wanted 1, saw 2`, details);
      for (const back of [
        fromOperationError(OperationError.decode(OperationError.encode(toOperationError(failure)).finish())),
        fromServiceError(toServiceError(failure), 'node-1:7411'),
      ]) {
        assert.deepEqual(
          { reason: back.reason, message: back.message, details: back.details },
          { reason, message: failure.message, details },
        );
      }
    }
  }
});

test('every reason has the code that the contract names', () => {
  const expected: [first: number, last: number, code: status][] = [
    [1, 19, status.INVALID_ARGUMENT],
    [20, 20, status.NOT_FOUND],
    [21, 22, status.FAILED_PRECONDITION],
    [23, 23, status.ABORTED],
    [24, 24, status.UNAVAILABLE],
    [25, 25, status.DEADLINE_EXCEEDED],
    [26, 26, status.RESOURCE_EXHAUSTED],
    [27, 28, status.UNAVAILABLE],
    [29, 29, status.INTERNAL],
    [30, 30, status.UNIMPLEMENTED],
    [31, 31, status.INTERNAL],
    [32, 32, status.ALREADY_EXISTS],
    [33, 35, status.FAILED_PRECONDITION],
  ];
  for (const name of REASONS) {
    const number = Reason[name];
    const code = expected.find(([first, last]) => first <= number && number <= last)?.[2];
    assert.equal(reasonCode(name, 'NOT_APPLIED'), code, name);
  }
});

test('too few replicas is ABORTED once the write may have been applied', () => {
  assert.equal(reasonCode('NOT_ENOUGH_REPLICAS', 'UNKNOWN'), status.ABORTED);
  assert.equal(toOperationError(new Failure('NOT_ENOUGH_REPLICAS', '', { outcome: 'UNKNOWN' })).code, status.ABORTED);
});

test('a bug is answered with an id that the log has too, and without its own text', () => {
  const log = recordingLog();
  const bug = new Error('password is hunter2');
  const failure = asFailure(bug, log);
  assert.equal(failure.reason, 'INTERNAL');
  assert.equal(failure.outcome, 'UNKNOWN');
  const [line] = log.lines;
  assert.equal(line?.fields.err, bug);
  assert.match(failure.message, new RegExp(`^internal error ${line?.fields.id}`));
  assert.doesNotMatch(failure.message, /hunter2/);
});

test('a failure passes through as it is', () => {
  const log = recordingLog();
  const failure = new Failure('NO_RING', 'no ring yet');
  assert.equal(asFailure(failure, log), failure);
  assert.equal(log.lines.length, 0);
});

test('a status without our trailer is read by its code, and its outcome is unknown unless it was not served', () => {
  const read = (code: status, metadata = new Metadata()) =>
    fromServiceError(
      Object.assign(new Error('x'), { code, details: 'the details', metadata }) as ServiceError,
      'node-1:7411',
    );
  assert.deepEqual(
    [status.DEADLINE_EXCEEDED, status.UNAVAILABLE, status.RESOURCE_EXHAUSTED, status.UNIMPLEMENTED, status.UNKNOWN]
      .map((code) => read(code))
      .map(({ reason, outcome }) => [reason, outcome]),
    [
      ['DEADLINE', 'UNKNOWN'],
      ['NOT_ENOUGH_REPLICAS', 'UNKNOWN'],
      ['OVERLOADED', 'UNKNOWN'],
      ['NOT_IMPLEMENTED', 'NOT_APPLIED'],
      ['INTERNAL', 'UNKNOWN'],
    ],
  );
  assert.equal(read(status.UNKNOWN).message, 'node-1:7411 answered UNKNOWN: the details');
  const garbled = new Metadata();
  garbled.set('cartwheel-error-bin', Buffer.from([0xff, 0xff, 0xff]));
  assert.equal(read(status.UNAVAILABLE, garbled).reason, 'NOT_ENOUGH_REPLICAS');
});

test('what gRPC says of a connection is the cause, and the message names who was asked', () => {
  const read = (code: status, details: string) =>
    fromServiceError(
      Object.assign(new Error(details), { code, details, metadata: new Metadata() }) as ServiceError,
      'node-1:7411',
    );
  const unreached = 'No connection established. Last error: connect ECONNREFUSED. Resolution note: ';
  for (const [code, details, message] of [
    [status.UNAVAILABLE, unreached, 'no answer from node-1:7411: it cannot be reached'],
    [status.UNAVAILABLE, 'Connection dropped', 'no answer from node-1:7411: the connection was lost'],
    [status.UNAVAILABLE, 'read ECONNRESET', 'no answer from node-1:7411: the connection was lost'],
    [status.DEADLINE_EXCEEDED, 'Deadline exceeded after 3.0s', 'no answer from node-1:7411 in time'],
  ] as const) {
    const failure = read(code, details);
    assert.equal(failure.message, message);
    assert.equal((failure.cause as Error).message, details);
  }
});

test('a reason or outcome from a newer build reads as internal and unknown', () => {
  const newer = { ...toOperationError(new Failure('NO_RING', 'm')), reason: 77 as never, outcome: 9 as never };
  const failure = fromOperationError(newer);
  assert.deepEqual([failure.reason, failure.outcome], ['INTERNAL', 'UNKNOWN']);
  assert.match(failure.message, /77/);
  assert.equal(Outcome.UNKNOWN, 2);
});

test('a message that no header could carry is made fit', () => {
  const { details } = toServiceError(new Failure('INTERNAL', `\ud800${'é'.repeat(100_000)}`));
  assert.ok(encodeURI(details).length < 8_000);
});
