/**
 * Negative controls: systems built wrong, one way each, which the simulation must catch. What it does not
 * catch it does not test. (A few need more seeds than anybody runs: those name a directed test that must fail.)
 *
 * There is no hook for this in the services: a process of its own is started, in which mutate.ts changes a snippet
 * of one or two source files as they are loaded.
 */
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

export interface Control {
  readonly name: string;
  /** What is wrong with it. */
  readonly fault: string;
  readonly edits: readonly Edit[];
  /** A test file that notices it, where only a seed in thousands does. */
  readonly test?: string;
}

export interface Edit {
  readonly file: string;
  /** Exactly one place in the file. */
  readonly snippet: string;
  readonly replacement: string;
}

export const controls: readonly Control[] = [
  {
    name: 'no-birth-rule',
    fault: 'a node mints under the birth kept with its record, whatever has happened to its disk',
    edits: [
      {
        file: 'services/core/versioning/birth.ts',
        snippet: 'birth !== undefined && birth.lineage === lineage',
        replacement: 'birth !== undefined',
      },
    ],
  },
  {
    name: 'whole-clock',
    fault: 'a put answers with the whole clock of the record',
    edits: [
      {
        file: 'services/storage-node/coordinate-put.ts',
        snippet: 'contexts.encode(answerContext(seen, dot), request.keyHash)',
        replacement: 'contexts.encode((void seen, held.record.clock), request.keyHash)',
      },
    ],
  },
  {
    name: 'newest-wins',
    fault: 'merge keeps the newest value, by the wall clocks of the coordinators',
    edits: [
      {
        file: 'services/core/versioning/record.ts',
        snippet: '  if (clock === a.clock && sameSiblings(siblings, a.siblings)) return a;',
        replacement:
          '  siblings.sort((x, y) => y.writtenAtMs - x.writtenAtMs).splice(1);\n' +
          '  if (clock === a.clock && sameSiblings(siblings, a.siblings)) return a;',
      },
    ],
  },
  {
    name: 'earlier-than-replaced',
    fault: 'where the last writer wins a write has the time of its coordinator’s wall clock, however slow that is',
    edits: [
      {
        file: 'services/core/versioning/last-writer.ts',
        snippet: 'Math.max(time, writtenAtMs + 1)',
        replacement: 'Math.max(time, Math.min(time, writtenAtMs))',
      },
    ],
  },
  {
    name: 'earliest-wins',
    fault: 'where the last writer wins readers are shown the earliest of what was written concurrently',
    edits: [
      {
        file: 'services/core/versioning/last-writer.ts',
        snippet: 'compareTimes(sibling, latest) > 0',
        replacement: 'compareTimes(sibling, latest) < 0',
      },
    ],
  },
  {
    name: 'beaten-and-dropped',
    fault: 'where the last writer wins merge drops a value because a later one is there',
    edits: [
      {
        file: 'services/core/versioning/record.ts',
        snippet: '  if (clock === a.clock && sameSiblings(siblings, a.siblings)) return a;',
        replacement:
          '  siblings.splice(0, siblings.length, ...withoutBeaten(siblings));\n' +
          '  if (clock === a.clock && sameSiblings(siblings, a.siblings)) return a;',
      },
    ],
  },
  {
    name: 'loser-not-kept',
    fault: 'where the last writer wins what has lost is in no ledger',
    edits: [
      {
        file: 'services/storage-node/losers.ts',
        snippet: '      mutations.push(mutation);',
        replacement: '      void mutation;',
      },
    ],
  },
  {
    name: 'early-acknowledgement',
    fault: 'a write is acknowledged as soon as it is written, not when it is synced',
    edits: [
      {
        file: 'services/storage-node/record-store.ts',
        snippet: '      await engine.write(mutations, batch.sync);',
        replacement: '      await engine.write(mutations, false);',
      },
    ],
  },
  {
    name: 'begun-when-given-up',
    fault: 'a process that is asked first may take all the time there is, though others are asked before it is over',
    edits: [
      {
        file: 'services/platform/routing/dispatch.ts',
        snippet: 'attemptOf(body, attempt, share)',
        replacement: 'attemptOf(body, attempt, timeoutMs)',
      },
    ],
  },
  {
    name: 'anything-is-known',
    fault: 'a replica says that it has what the reader knows, whatever it has',
    edits: [
      {
        file: 'services/core/quorum/known-record.ts',
        snippet: 'hash(record, BigInt(record.length)) === known',
        replacement: 'hash(record, BigInt(record.length)) >= 0n',
      },
    ],
  },
  {
    name: 'time-begins-at-arrival',
    fault: 'what a message takes on its way does not count against the deadlines of its operations',
    edits: [
      {
        file: 'services/core/remote-clock.ts',
        snippet: '? now - sentAtMs : 0',
        replacement: '? 0 : 0',
      },
    ],
  },
  {
    name: 'made-though-cancelled',
    fault: 'a write that nobody waits for any more is made all the same',
    edits: [
      {
        file: 'services/storage-node/coordinate-put.ts',
        snippet: "if (cancellation.cancelled) throw new Cancelled('NOT_APPLIED');",
        replacement: 'void [cancellation, Cancelled];',
      },
    ],
  },
  {
    name: 'memory-called-durable',
    fault: 'a receipt calls durable what is in memories only',
    edits: [
      {
        file: 'services/storage-node/coordinate-put.ts',
        snippet: 'durable: isSynced(nodeId)',
        replacement: 'durable: true',
      },
    ],
  },
  {
    name: 'buffer-left-at-the-stop',
    fault: 'a clean stop does not wait for what the write buffer holds',
    edits: [
      {
        file: 'services/storage-node/record-store.ts',
        snippet: 'while (failure === undefined && (gathering !== undefined || writing !== undefined)) {',
        replacement: 'while (failure === undefined && (gathering?.due === true || writing !== undefined)) {',
      },
    ],
  },
  {
    name: 'expired-and-shown',
    fault: 'reads show what has expired',
    edits: [
      {
        file: 'services/core/versioning/record.ts',
        snippet: '!isExpired(one, wallNowMs)',
        replacement: '!isExpired(one, 0)',
      },
    ],
  },
  {
    name: 'cut-what-was-just-covered',
    test: 'test/core/versioning.test.ts',
    fault: 'a put cuts from its clock what it has just learned from its context',
    edits: [
      {
        file: 'services/core/versioning/record.ts',
        snippet: '!hasMoved(before.clock, removed, entryOf(after.clock, entry.actor))',
        replacement: '!hasDotOf(removed, entry.actor)',
      },
    ],
  },
  {
    name: 'two-overlay-entries',
    fault: 'two changes of a key read the same old record, because the first one’s read is still pending',
    edits: [
      {
        file: 'services/storage-node/record-store.ts',
        snippet: '    if (known !== undefined) return known;',
        replacement: '    if (known?.held !== undefined) return known;',
      },
    ],
  },
  {
    name: 'lineage-survives-a-crash',
    fault: 'a node that crashed takes its lineage for unbroken, and mints under its old births',
    edits: [
      {
        file: 'services/platform/memory-engine.ts',
        snippet: '      state.session = undefined;\n      state.cleanLineage = undefined;',
        replacement: '      state.session = undefined;\n      state.cleanLineage = 1n;',
      },
    ],
  },
  {
    name: 'birth-outlives-its-record',
    fault: 'a node mints under the birth of a record that it has handed over and dropped',
    edits: [
      {
        file: 'services/storage-node/coordinate-put.ts',
        snippet: '    written = applyTo(own, knownHere(own));',
        replacement:
          '    const births = ((globalThis as { births?: Map<string, Copy["birth"]> }).births ??= new Map());\n' +
          '    const name = [node.id, node.lineage(), Buffer.from(storageKey).toString("hex")].join();\n' +
          '    const copy = own.birth === undefined && births.has(name) ? { ...own, birth: births.get(name) } : own;\n' +
          '    written = applyTo(copy, knownHere(own));\n' +
          '    births.set(name, written.copy.birth);',
      },
      { file: 'services/core/versioning/birth.ts', snippet: 'last > 0 && last', replacement: 'last' },
    ],
  },
  {
    name: 'dropped-hint',
    fault: 'a fallback takes a record for a home, and forgets whom it owes it to',
    edits: [
      {
        file: 'services/storage-node/hints.ts',
        snippet: '      return { ...next, copy: { ...copy, owed: [...copy.owed, home].sort() } };',
        replacement: '      return next;',
      },
    ],
  },
  {
    name: 'handoff-before-the-acknowledgement',
    fault: 'a handoff deletes hint and record before their home has them',
    edits: [
      {
        file: 'services/storage-node/handoff.ts',
        snippet: '    await peers.replica(nodeId).write({',
        replacement: '    const unwaited = peers.replica(nodeId).write({',
      },
      {
        file: 'services/storage-node/handoff.ts',
        snippet: '    await store.change(key, (now) => withoutHint(',
        replacement: '    unwaited.catch(() => {});\n    await store.change(key, (now) => withoutHint(',
      },
    ],
  },
  {
    name: 'handoff-of-what-has-changed',
    fault: 'a handoff deletes a record that was changed while it was delivered',
    edits: [
      {
        file: 'services/storage-node/handoff.ts',
        snippet: '    if (!isSame || !now.owed',
        replacement: '    void isSame;\n    if (!now.owed',
      },
    ],
  },
  {
    name: 'repair-that-overwrites',
    fault: 'read repair puts its record in the place of what a replica has, instead of merging it',
    edits: [
      {
        file: 'services/storage-node/local-replica.ts',
        snippet: 'remembering(merged(own, incoming, bytes), key, request)',
        replacement:
          'remembering(sync ? merged(own, incoming, bytes) : { copy: { ...own, record: incoming, bytes } }, key, request)',
      },
    ],
  },
  {
    name: 'digest-not-kept-up',
    fault: 'a change of a record does not change its digest',
    edits: [
      {
        file: 'services/storage-node/digests.ts',
        snippet: 'tree.change(key, of(key, before), digest);',
        replacement: 'tree.change(key, of(key, before), of(key, before));',
      },
    ],
  },
  {
    name: 'requests-left-behind',
    test: 'test/storage-node/beside-records.test.ts',
    fault: 'who takes a partition over gets its records, and not the requests that its owners remember',
    edits: [
      {
        file: 'services/storage-node/takeover.ts',
        snippet: "if (pull.stage === 'requests' && (await pullRequests(node, pull, admission)))",
        replacement: "void pullRequests;\n  if (pull.stage === 'requests')",
      },
    ],
  },
  {
    name: 'requests-learned-without-their-writes',
    test: 'test/storage-node/learn-requests.test.ts',
    fault: 'a node remembers requests whose writes its records do not have',
    edits: [
      {
        file: 'services/storage-node/learn-requests.ts',
        snippet: 'ofKey.filter(({ dot }) => contains(own.record.clock, dot))',
        replacement: '(void contains, ofKey)',
      },
    ],
  },
  {
    name: 'refused-requests-counted',
    test: 'test/storage-node/record-store.test.ts',
    fault: 'a request counts as remembered though its write was refused, so older ones are forgotten too early',
    edits: [
      {
        file: 'services/storage-node/record-store.ts',
        snippet: 'also: [...(next.also ?? []), ...more] };',
        replacement: "also: [...(next.also ?? []), ...more.map((one) => (typeof one === 'function' ? one() : one))] };",
      },
    ],
  },
  {
    name: 'handed-back-to-a-single-owner',
    test: 'test/storage-node/hand-back.test.ts',
    fault: 'a former owner drops what it has when a single owner has it, because the others are DOWN',
    edits: [
      {
        file: 'services/storage-node/hand-back.ts',
        snippet: 'if (here.length >= majority(owners)) return;',
        replacement: 'if (here.length > 0) return;',
      },
    ],
  },
  {
    name: 'owed-to-others-and-dropped',
    test: 'test/storage-node/hand-back.test.ts',
    fault: 'where an owner is DOWN, what is handed back is dropped though it is owed to others, who did not get it',
    edits: [
      {
        file: 'services/storage-node/hand-back.ts',
        snippet: 'owed.some((id) => !isDown(id));',
        replacement: 'owners.down.length === 0 && owed.length > 0;',
      },
    ],
  },
  {
    name: 'requests-not-handed-back',
    test: 'test/storage-node/beside-records.test.ts',
    fault: 'who hands records back does not tell their owners which requests it remembers',
    edits: [
      {
        file: 'services/storage-node/hand-back.ts',
        snippet: '  await giveRequests(node, { start, end }, owners.here, { admit });',
        replacement: '  void giveRequests;',
      },
    ],
  },
  {
    name: 'exchange-that-only-pulls',
    fault: 'an exchange asks only for what the other replica lists, and sends nothing: neither ever hears of a delete',
    edits: [
      {
        file: 'services/storage-node/exchange.ts',
        snippet: '          await peer.write({ ...written, key, record, deadline: writeDeadline(node) });',
        replacement: '        void writeDeadline;',
      },
      {
        file: 'services/storage-node/exchange.ts',
        snippet: '      peer,\n      keys.map(({ key }) => key)',
        replacement: '      peer,\n      keys.filter(({ theirs }) => theirs !== absent).map(({ key }) => key)',
      },
    ],
  },
  {
    name: 'exchange-that-overwrites',
    fault: 'an exchange puts the record of the other replica in the place of its own, instead of merging it',
    edits: [
      {
        file: 'services/storage-node/exchange.ts',
        snippet: 'node.replica.write({ ...written, ...one, deadline: writeDeadline(node) });',
        replacement:
          '(void writeDeadline, node.store.change(one.key, (own) => {\n' +
          '        return { copy: { ...own, record: node.records.decode(one.record), bytes: one.record } };\n' +
          '      }, true).then(({ committed }) => committed));',
      },
    ],
  },
  {
    name: 'tree-kept-over-a-crash',
    fault: 'a node takes up the tree of an earlier clean stop, whatever has happened since',
    edits: [
      {
        file: 'services/storage-node/digests.ts',
        snippet: 'reader.u64() !== engine.lineage) return false;',
        replacement: 'reader.u64() < 0n) return false;',
      },
    ],
  },
  {
    name: 'forgotten-mark',
    fault: 'what hints have no room for is forgotten',
    edits: [
      {
        file: 'services/storage-node/hints.ts',
        snippet: '    ofHome.set(partition, ++lastMark);',
        replacement: '    lastMark++;',
      },
    ],
  },
  {
    name: 'repaired-from-one-replica',
    fault: 'a record that is not whole is replaced by what one other home has',
    edits: [
      {
        file: 'services/core/versioning/restored.ts',
        snippet: 'homes.some((home) => !said.has(home))',
        replacement: 'said.size === 0',
      },
    ],
  },
  {
    name: 'repaired-with-its-birth',
    test: 'test/storage-node/record-repair.test.ts',
    fault: 'a node goes on minting under the birth of a record that was damaged and repaired',
    edits: [
      {
        file: 'services/storage-node/record-store.ts',
        snippet: '      const corrupt: Held = { ...nothingHeld, owed };',
        replacement:
          "      const [stored] = await engine.getMany('records', [key]);\n" +
          '      const { birth } = (() => { try { return codec.decodeStored(stored!) } catch { return nothingHeld } })();\n' +
          '      const corrupt: Held = { ...nothingHeld, birth, owed };',
      },
      { file: 'services/core/versioning/birth.ts', snippet: 'last > 0 && last', replacement: 'last' },
    ],
  },
  {
    name: 'damaged-and-owed-to-nobody',
    test: 'test/storage-node/record-repair.test.ts',
    fault: 'a fallback whose record is repaired forgets whom it owes it to',
    edits: [
      {
        file: 'services/storage-node/record-repair.ts',
        snippet: 'ids.filter((_, i) => hints[i] !== undefined)',
        replacement: 'ids.filter((_, i) => hints[i] === null)',
      },
    ],
  },
  {
    name: 'request-id-ignored',
    fault: 'a coordinator does not look whether it has a request already',
    edits: [
      {
        file: 'services/core/versioning/write.ts',
        snippet: 'ttlMs, lastWriterWins } = write;\n  const known = siblingOfRequest(copy.record, requestId);',
        replacement: 'ttlMs, lastWriterWins } = write;\n  const known = undefined as Sibling | undefined;',
      },
      {
        file: 'services/storage-node/coordinate-put.ts',
        snippet: '  const isRetry = request.attempt > 0 &&',
        replacement: '  const isRetry = false && request.attempt > 0 &&',
      },
    ],
  },
  {
    name: 'placement-not-waited-for',
    fault: 'a put is acknowledged by W replicas, wherever it has to be',
    edits: [
      {
        file: 'services/storage-node/placement.ts',
        snippet: '  return isMet(require, acks);',
        replacement: '  return acks.length > 0 || isMet(require, acks);',
      },
    ],
  },
  {
    name: 'read-shared-after-it-was-sent',
    test: 'test/router/key-flights.test.ts',
    fault: 'a router answers a read with what one was answered that it had sent before',
    edits: [
      {
        file: 'services/router/key-flights.ts',
        snippet: '    flight.isSent = true;\n',
        replacement:
          '    flight.isSent = true;\n' +
          '    const sent = ((gate as { sent?: Map<unknown, Flight> }).sent ??= new Map());\n' +
          '    sent.set(what, flight);\n',
      },
      {
        file: 'services/router/key-flights.ts',
        snippet: 'cancellation: flight.cancelling }).then(',
        replacement: 'cancellation: flight.cancelling }).finally(() => sent.delete(what)).then(',
      },
      {
        file: 'services/router/key-flights.ts',
        snippet: 'const waits = gate.waiting?.get(what);',
        replacement:
          'const waits = gate.waiting?.get(what) ?? (gate as { sent?: Map<unknown, Flight> }).sent?.get(what);',
      },
    ],
  },
  {
    name: 'flip-before-the-transfer',
    test: 'test/storage-node/ring-moves.test.ts',
    fault: 'a pending owner says at once that it has pulled a partition',
    edits: [
      {
        file: 'services/storage-node/transfers.ts',
        snippet: 'pulled: () => incoming().filter(isPulled),',
        replacement: 'pulled: () => incoming(),',
      },
    ],
  },
  {
    name: 'pulled-from-one-owner',
    test: 'test/storage-node/ring-moves.test.ts',
    fault: 'a partition counts as pulled when one of its owners has given what it has',
    edits: [
      {
        file: 'services/storage-node/transfers.ts',
        snippet: 'return ownersOf(known, partition).every(({ id }) => {',
        replacement: 'return ownersOf(known, partition).some(({ id }) => {',
      },
    ],
  },
  {
    name: 'given-up-and-counted-as-pulled',
    test: 'test/storage-node/ring-moves.test.ts',
    fault: 'who takes a partition over counts as its own what it gave up a moment ago, and what is on the disk still',
    edits: [
      {
        file: 'services/storage-node/record-lists.ts',
        snippet: '  await store.flush();\n  const here',
        replacement: '  const here',
      },
    ],
  },
  {
    name: 'listed-and-passed-over',
    test: 'test/storage-node/ring-moves.test.ts',
    fault: 'who takes a partition over passes over what its owner lists and then cannot give',
    edits: [
      {
        file: 'services/storage-node/takeover.ts',
        snippet: 'if (came < lacking.length)',
        replacement: 'if (came < 0)',
      },
    ],
  },
  {
    name: 'hints-and-leftovers-counted-apart',
    test: 'test/platform/status-service.test.ts',
    fault: 'a node that is to leave says that it owes nothing while something goes from its hints to what is left over',
    edits: [
      {
        file: 'services/platform/status-service.ts',
        snippet: 'Math.max(storage.retiringPartitions, options.retiring?.() ?? 0)',
        replacement: 'storage.retiringPartitions',
      },
    ],
  },
  {
    name: 'no-fence',
    test: 'test/storage-node/ring-moves.test.ts',
    fault: 'a replica takes what was placed by a ring from before the partition began to move',
    edits: [
      {
        file: 'services/storage-node/local-replica.ts',
        snippet: 'if (epoch !== undefined && epoch < fences.ofKey(key)) throw new RingMoved(id);',
        replacement: 'void [epoch, key, fences, RingMoved];',
      },
    ],
  },
  {
    name: 'fences-forgotten-at-doubling',
    test: 'test/core/ring-doubling.test.ts',
    fault: 'when partitions double, their halves have no fence: what was placed before they moved is taken again',
    edits: [
      {
        file: 'services/core/ring/fences.ts',
        snippet: '          : Math.max(...shared.map((old) => last[old] as number));',
        replacement:
          '          : before.partitions === ring.partitions ? Math.max(...shared.map((old) => last[old] as number)) : 0;',
      },
    ],
  },
  {
    name: 'begun-again-unnoticed',
    test: 'test/storage-node/ring-moves.test.ts',
    fault:
      'a node takes a partition that was given up and begun again, in rings that it has missed, for the one it has pulled',
    edits: [
      {
        file: 'services/core/ring/fences.ts',
        snippet: 'since !== undefined && shared.every((old) => before.pendingSince.get(old) === since);',
        replacement: 'since !== undefined;',
      },
    ],
  },
  {
    name: 'losses-left-behind',
    test: 'test/storage-node/beside-records.test.ts',
    fault: 'who takes a partition over does not get the values that have lost in it',
    edits: [
      {
        file: 'services/storage-node/transfers.ts',
        snippet: 'if (!(await pullLosses(node, ofOwner as [Pull, ...Pull[]], task))) continue;',
        replacement: 'void pullLosses;',
      },
    ],
  },
  {
    name: 'lower-term-accepted',
    test: 'test/core/membership.test.ts',
    fault: 'a ring of a lower term is gone over to, where its sequence is higher',
    edits: [
      {
        file: 'services/core/membership/membership.ts',
        snippet: 'const order = compareVersions(ring.version, state.ring.version);',
        replacement:
          'const order = compareVersions({ ...ring.version, term: 1n }, { ...state.ring.version, term: 1n });',
      },
    ],
  },
  {
    name: 'settled-before-all-know',
    test: 'test/core/rebalance.test.ts',
    fault: 'a partition is settled before all that have a part in it know that it was flipped',
    edits: [
      {
        file: 'services/core/membership/rebalance.ts',
        snippet: '!isStaged(ring, owners, partition) && unaware(ring, partition, knowing).length === 0,',
        replacement: '!isStaged(ring, owners, partition) && unaware(ring, partition, knowing).length >= 0,',
      },
    ],
  },
  {
    name: 'report-of-another-ring',
    test: 'test/core/rebalance.test.ts',
    fault: 'what a node says by an older ring counts for the present one',
    edits: [
      {
        file: 'services/core/membership/rebalance.ts',
        snippet: 'compareVersions(report.version, version) === 0)',
        replacement: 'compareVersions(report.version, version) <= 0)',
      },
    ],
  },
  {
    name: 'left-while-it-owes',
    test: 'test/core/rebalance.test.ts',
    fault: 'a node is LEFT as soon as it owns nothing, whatever it has for others',
    edits: [
      {
        file: 'services/core/membership/rebalance.ts',
        snippet: 'knowing.get(id)?.owes === 0;',
        replacement: 'knowing.get(id) !== undefined;',
      },
    ],
  },
  {
    name: 'pending-owners-left-out',
    fault: 'writes do not go to pending owners, and their receipts do not say so',
    edits: [
      {
        file: 'services/storage-node/pending-owners.ts',
        snippet: 'if (pending.length === 0) return nothingPending;',
        replacement: 'if (pending.length >= 0) return nothingPending;',
      },
    ],
  },
  {
    name: 'old-copy-dropped-early',
    fault: 'a former owner drops its records without asking who has them',
    edits: [
      {
        file: 'services/storage-node/hand-back.ts',
        snippet: 'if (records.length > 0) await give(owner, records, era);',
        replacement: '',
      },
    ],
  },
  {
    name: 'hint-to-a-departed-home-forgotten',
    fault: 'what is owed to a home that has left is dropped with its hint',
    edits: [
      {
        file: 'services/storage-node/handoff.ts',
        snippet: 'await store.change(key, (now) => withoutOwed(now, nodeId, key), false);',
        replacement: 'await store.change(key, () => ({ copy: nothingHeld }), false);',
      },
    ],
  },
  {
    name: 'halves-in-another-order',
    test: 'test/core/ring-doubling.test.ts',
    fault: 'when partitions double, the halves of one are not neighbours: keys get the homes of others',
    edits: [
      {
        file: 'services/core/ring/doubling.ts',
        snippet: 'rows.set([...row, ...row], 2 * partition * replicas);',
        replacement: 'for (const half of [partition, partition + partitions]) rows.set(row, half * replicas);',
      },
    ],
  },
  {
    name: 'marks-keep-their-numbers',
    test: 'test/storage-node/doubling.test.ts',
    fault: 'when partitions double, what is marked for exchange keeps its number, and so speaks of other keys',
    edits: [
      {
        file: 'services/storage-node/hints.ts',
        snippet:
          '...partitionsSharing(one.partition, one.partitions || partitions, partitions).map((now) => mark(one.home, now)),',
        replacement: 'mark(one.home, one.partition),',
      },
    ],
  },
  {
    name: 'leftovers-keep-their-numbers',
    fault: 'when partitions double, what is left of others’ partitions is looked for in the wrong ones',
    edits: [
      {
        file: 'services/storage-node/transfers.ts',
        snippet: '[...leftovers].flatMap((old) => partitionsSharing(old, before.partitions, ring.partitions))',
        replacement: '[...leftovers].flatMap((old) => partitionsSharing(old, ring.partitions, ring.partitions))',
      },
    ],
  },
  {
    name: 'late-message-after-collection',
    fault: 'a home takes a record that was known before the barrier',
    edits: [
      {
        file: 'services/storage-node/local-replica.ts',
        snippet: 'if (era >= barriers.era) return;',
        replacement: 'if (era >= 0) return;',
      },
    ],
  },
  {
    name: 'collected-with-a-hint-outstanding',
    test: 'test/storage-node/collection.test.ts',
    fault: 'a node that keeps records for a home says that it keeps none',
    edits: [
      {
        file: 'services/storage-node/barriers.ts',
        snippet: 'if (entries.length > 0) clean.delete(partition);',
        replacement: 'void entries;',
      },
    ],
  },
  {
    name: 'collected-with-a-home-away',
    test: 'test/storage-node/collection.test.ts',
    fault: 'who does not answer agrees',
    edits: [
      {
        file: 'services/storage-node/collection.ts',
        snippet: '(away.length > 0 ?',
        replacement: '(away.length > Number.POSITIVE_INFINITY ?',
      },
      {
        file: 'services/storage-node/collection.ts',
        snippet: '?.agreed ?? []);',
        replacement: '?.agreed ?? covered.map((_, i) => i));',
      },
      {
        file: 'services/core/stability/barrier.ts',
        snippet: '    if (nodes.some((id) => !answers.has(id))) return new Set();',
        replacement: '',
      },
    ],
  },
  {
    name: 'collected-without-a-barrier',
    fault: 'what all homes cover is let go, whatever is under way',
    edits: [
      {
        file: 'services/storage-node/collection.ts',
        snippet: 'const going = agreed.filter(({ key }) => stable.has(partitionOfStorageKey(key, ring.partitions)));',
        replacement: 'const going = (void stable, agreed);',
      },
    ],
  },
  {
    name: 'crossed-in-a-later-era',
    test: 'test/core/stability.test.ts',
    fault: 'a node that is in a later era already counts as gone over to the one begun',
    edits: [
      {
        file: 'services/core/stability/barrier.ts',
        snippet: '      if ([...crossedBy.values()].some((answer) => answer.era !== era)) return new Set();\n',
        replacement: '',
      },
    ],
  },
  {
    name: 'left-and-told-of-the-era',
    fault: 'a node that had left, and comes back with its disk, is told of the era that began without it',
    edits: [
      {
        file: 'services/storage-node/local-replica.ts',
        snippet: "if (sender?.status !== 'LEFT') throw new EraMoved(id, barriers.era);",
        replacement: 'if (sender?.status !== undefined) throw new EraMoved(id, barriers.era);',
      },
    ],
  },
  {
    name: 'joined-in-the-first-era',
    test: 'test/storage-node/collection.test.ts',
    fault: 'a node that has joined since a barrier takes from one that left before it what all others have let go of',
    edits: [
      {
        file: 'services/storage-node/takeover.ts',
        snippet: 'await node.barriers.follow(eraOf(era) ?? firstEra);',
        replacement: 'void [era, eraOf, firstEra];',
      },
    ],
  },
  {
    name: 'leaving-and-still-taking',
    test: 'test/storage-node/ring-moves.test.ts',
    fault: 'a node that leaves takes records for others after it has said that it owes nothing',
    edits: [
      {
        file: 'services/storage-node/local-replica.ts',
        snippet: '&& !isEmptied(known, self)) return;',
        replacement: ') return void isEmptied;',
      },
      {
        file: 'services/storage-node/coordinate-put.ts',
        snippet:
          '        if (!isMinted && at.ring !== node.ring() && !isListed(node, request.storageKey)) throw new RingMoved(node.id);\n',
        replacement: '',
      },
    ],
  },
  {
    name: 'handed-over-and-taken-over',
    test: 'test/storage-node/hand-over.test.ts',
    fault:
      'a node that takes a partition over gives up what it has pulled, because it kept some of it for one of its homes',
    edits: [
      {
        file: 'services/storage-node/hand-over.ts',
        snippet: 'isServedBy(place, node.id) || ',
        replacement: '(void isServedBy, false) || ',
      },
      {
        file: 'services/storage-node/exchanges.ts',
        snippet: 'refused || serves(ring, partition, self.index)',
        replacement: 'refused || isHome(ring, partition, self.index)',
      },
    ],
  },
  {
    name: 'hints-lost-with-their-index',
    test: 'test/storage-node/hints.test.ts',
    fault: 'a node whose index of hints was damaged forgets whom it owes what it keeps',
    edits: [
      {
        file: 'services/storage-node/hints.ts',
        snippet: 'const lost = hints.filter((_, i) => found[i] === undefined);',
        replacement: 'const lost = hints.filter((_, i) => found[i] === null);',
      },
    ],
  },
  {
    name: 'remembered-and-made-again',
    test: 'test/storage-node/requests-remembered.test.ts',
    fault: 'a second attempt is made once more where nobody who answers has the write, though it is remembered',
    edits: [
      {
        file: 'services/storage-node/recall.ts',
        snippet: 'if (dot === undefined) return replaced(remembered, isFromAll);',
        replacement: 'if (dot === undefined) return void [replaced, remembered, isFromAll];',
      },
    ],
  },
  {
    name: 'clocks-that-grow',
    fault: 'clocks keep the entries of nodes that are long gone',
    edits: [
      {
        file: 'services/core/stability/settled.ts',
        snippet: '  return clock.length === record.clock.length ? undefined : { ...record, clock };',
        replacement: '  return void clock;',
      },
    ],
  },
  {
    name: 'learns-again-who-left',
    test: 'test/core/membership-forgetting.test.ts',
    fault: 'whoever has not heard that a node has left brings it back to those who have',
    edits: [
      {
        file: 'services/core/membership/membership.ts',
        snippet: 'if (entry.id === state.self?.id || hasLeft(state, entry.id)) continue;',
        replacement: 'if (entry.id === state.self?.id) continue;',
      },
    ],
  },
  {
    name: 'forgets-before-the-ring',
    test: 'test/core/membership-forgetting.test.ts',
    fault: 'a member that says itself that it has left is forgotten, by those whose ring does not say it too',
    edits: [
      {
        file: 'services/core/membership/membership.ts',
        snippet: 'members.set(entry.id, merged);',
        replacement: "if (entry.status === 'LEFT') members.delete(entry.id); else members.set(entry.id, merged);",
      },
    ],
  },
  {
    name: 'trusts-its-disk-after-leaving',
    test: 'test/platform/gossip.test.ts',
    fault:
      'a node that has left trusts the births on its disk, though nobody remembers any more whether that is an old image',
    edits: [
      {
        file: 'services/platform/gossip/gossip.ts',
        snippet: "if (state.self?.isRestored !== true && ownEntry(state)?.status !== 'LEFT')",
        replacement: 'if (state.self?.isRestored !== true)',
      },
    ],
  },
  {
    name: 'absence-from-a-damaged-disk',
    test: 'test/storage-node/refill.test.ts',
    fault: 'a node whose files were damaged says that there is nothing where it has lost what there was',
    edits: [
      {
        file: 'services/storage-node/local-replica.ts',
        snippet: 'if (!options.isFilling(key)) return;',
        replacement: 'if (options !== undefined) return;',
      },
    ],
  },
  {
    name: 'filled-from-one-owner',
    test: 'test/storage-node/refill.test.ts',
    fault: 'a node that has lost a part of its disk answers again once a single other owner has given it what that has',
    edits: [
      {
        file: 'services/storage-node/refill.ts',
        snippet: 'ownersOf(partition).every((id) => from.has(id))',
        replacement: 'ownersOf(partition).some((id) => from.has(id))',
      },
    ],
  },
  {
    name: 'whoever-is-there',
    fault: 'a node takes what listens at the address of another for that one',
    edits: [
      {
        file: 'services/platform/streams/handshake.ts',
        snippet: "if (theirs.peerId !== '' && theirs.peerId !== ours.nodeId)",
        replacement: 'if (Number.isNaN(theirs.wireVersion))',
      },
      {
        file: 'services/platform/streams/handshake.ts',
        snippet: 'if (theirs.nodeId !== meant)',
        replacement: 'if (Number.isNaN(theirs.wireVersion))',
      },
    ],
  },
  {
    name: 'said-by-whoever-is-there',
    test: 'test/platform/peers.test.ts',
    fault: 'a call beside a stream is answered by whoever listens at the address',
    edits: [
      {
        file: 'services/platform/streams/replica-service.ts',
        snippet: 'const refusal = hello && refusalOf(hello, terms());',
        replacement: 'const refusal = hello && (void refusalOf, void terms(), undefined);',
      },
    ],
  },
  {
    name: 'pulled-and-lost-before-the-flip',
    test: 'test/storage-node/refill.test.ts',
    fault: 'a node that has lost some of what it was to take over, since it said that it had it, answers for it',
    edits: [
      {
        file: 'services/storage-node/refill.ts',
        snippet: 'if (!serves(ring, partition, self)) left.delete(partition);',
        replacement: 'if (!serves(ring, partition, self) || !isHome(ring, partition, self)) left.delete(partition);',
      },
    ],
  },
  {
    name: 'rebuilt-together',
    test: 'test/storage-node/refill.test.ts',
    fault: 'a node with damaged files is rebuilt while another one has not got back what it lost',
    edits: [
      {
        file: 'services/storage-node/rebuild.ts',
        snippet: 'await peers.replica(id).scan(',
        replacement: 'void peers.replica(id).scan(',
      },
    ],
  },
];

export interface ControlResult {
  readonly control: Control;
  /** Undefined: nothing was noticed. */
  readonly caught: { readonly by: string; readonly seen: string } | undefined;
  readonly output: string;
}

/** Only stops a hang: what is built wrong may also never end. */
const hangMs = 5 * 60_000;
const root = new URL('../../', import.meta.url);
const main = fileURLToPath(new URL('test/sim/main.ts', root));
/** A test that knows that it runs in another one reports to that. */
const { NODE_TEST_CONTEXT: _, ...outsideOfTests } = process.env;

/** Runs seeds on the system built wrong until one catches it; or the test that is to catch it. */
export function runControl(control: Control, seeds: number): Promise<ControlResult> {
  const mutation = new URL('./mutate.ts', import.meta.url);
  mutation.searchParams.set('control', control.name);
  const { test } = control;
  const program = test === undefined ? [main, '--seeds', String(seeds)] : [fileURLToPath(new URL(test, root))];
  const child = spawn(process.execPath, ['--import', mutation.href, ...program], {
    env: outsideOfTests,
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: hangMs,
  });
  let output = '';
  child.stdout.on('data', (chunk) => {
    output += chunk;
  });
  child.stderr.on('data', (chunk) => {
    output += chunk;
  });
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code) => {
      const match = (test === undefined ? /^(seed \d+) breaks (.*)$/m : /^(✖) (.*)$/m).exec(output);
      if (code === 1 && match !== null) {
        const [, seed = '', seen = ''] = match;
        resolve({ control, caught: { by: test ?? seed, seen }, output });
      } else if (code === 0) {
        resolve({ control, caught: undefined, output });
      } else {
        reject(new Error(`the control ${control.name} ended with ${code}:\n${output}`));
      }
    });
  });
}
