/**
 * The planted bugs: each a change of one place of the engine, as it is compiled. The simulation must find every one; whoever
 * changes such a place changes its mutant with it (a test tells). It is data: planting is plant.ts's, judging main.ts's.
 */
export interface Mutant {
  readonly name: string;
  /** What it breaks, as ARCHITECTURE.md numbers what must hold; '-': only "all is done in the end". */
  readonly invariant: string;
  readonly breaks: string;
  /** Below lib/, compiled. */
  readonly file: string;
  /** Stands in that file once. */
  readonly find: string;
  readonly replace: string;
}

export const MUTANTS: readonly Mutant[] = [
  {
    name: 'answer-before-mirror',
    invariant: 'I6',
    breaks: 'a mirrored write is answered, and its range released, before the destination has it',
    file: 'migration/mirrored-write.js',
    find: 'this.sendToDestination();\n        }',
    replace:
      'this.sendToDestination();\n            this.end(null);\n            this.end = () => undefined;\n        }',
  },
  {
    name: 'clear-not-mirrored',
    invariant: 'I3',
    breaks: 'discards and zeros go to the source alone',
    file: 'migration/mirrored-write.js',
    find: 'dirty.clearCovered(this.fromBytes, this.toBytes);',
    replace:
      "if (this.op !== 'write') return this.end(null);\n            dirty.clearCovered(this.fromBytes, this.toBytes);",
  },
  {
    name: 'restart-dropped',
    invariant: 'I6',
    breaks: 'a write that the destination failed makes nothing dirty',
    file: 'migration/mirrored-write.js',
    find: 'this.owner.dirty.mark(this.fromBytes, this.toBytes);\n            this.owner.destinationFailed',
    replace: 'this.owner.destinationFailed',
  },
  {
    name: 'overlap-ignored',
    invariant: 'I3',
    breaks: 'a write does not wait for an overlapping write or copy',
    file: 'migration/range-locks.js',
    find: 'this.waiting.push(holder);\n        else',
    replace: 'this.grant(holder);\n        else',
  },
  {
    name: 'copy-without-lock',
    invariant: 'I3',
    breaks: 'the copy reads the source while a write of the same range is under way',
    file: 'migration/transfer.js',
    find: 'if (!locks.tryAcquire(holder))\n                await waitFor(locks, holder);',
    replace: 'locks.active.push(holder);',
  },
  {
    name: 'waiters-stay',
    invariant: '-',
    breaks: 'of those who wait for a range only one is released',
    file: 'migration/range-locks.js',
    find: 'for (const holder of ready)\n            holder.granted();',
    replace: 'ready[0]?.granted();',
  },
  {
    name: 'half-covered-is-clean',
    invariant: 'I3',
    breaks: 'a chunk that a mirrored write covers in part counts as copied',
    file: 'migration/dirty-map.js',
    find: 'if (first < end)\n            this.chunks.clearRange(first, end);',
    replace:
      'void end;\n        this.chunks.clearRange(Math.floor(from / this.chunkBytes), Math.ceil(to / this.chunkBytes));\n        void first;',
  },
  {
    name: 'begin-not-dirty',
    invariant: 'I3',
    breaks: 'an attempt begins with nothing to copy',
    file: 'migration/transfer.js',
    find: 'interceptor.dirty.mark(Math.max(range.fromBytes, fromBytes), Math.min(range.toBytes, toBytes));',
    replace: '',
  },
  {
    name: 'hole-not-sent',
    invariant: 'I3',
    breaks: 'the copy leaves out what is a hole at the source',
    file: 'migration/transfer.js',
    find: 'await this.interceptor.destination.step(PeerType.MIRROR_DISCARD, fields);',
    replace: 'void fields;',
  },
  {
    name: 'failed-copy-is-clean',
    invariant: 'I6',
    breaks: 'a run whose copy failed is not dirty again',
    file: 'migration/transfer.js',
    find: 'dirty.mark(run.fromBytes, run.toBytes);',
    replace: '',
  },
  {
    name: 'seal-without-sync',
    invariant: 'I3',
    breaks: 'the destination answers a seal before its disk has synced',
    file: 'migration/destination.js',
    find: 'if (sync)\n',
    replace: 'if (sync && false)\n',
  },
  {
    name: 'mirror-never-durable',
    invariant: 'I3',
    breaks: 'the last mirrored writes before a commit are not durable at the destination',
    file: 'migration/interceptor.js',
    find: 'this.isDurable = true;',
    replace: '',
  },
  {
    name: 'commit-blind',
    invariant: 'I3',
    breaks: 'a commit does not ask whether the destination still is the process that sealed',
    file: 'migration/batch.js',
    find: 'if (entry === undefined || parseRecord(MemberRecord, entry).incarnation !== incarnation)',
    replace: 'if (entry === undefined)',
  },
  {
    name: 'commit-unheld',
    invariant: 'I5',
    breaks: 'writes are not held back while the commit is under way',
    file: 'migration/batch.js',
    find: 'await Promise.all(interceptors.map((interceptor) => interceptor.holdWrites()));',
    replace: '',
  },
  {
    name: 'reads-not-held',
    invariant: 'I5',
    breaks: 'reads go to the source while the extent is given away',
    file: 'migration/interceptor.js',
    find: "this.gate = 'all';\n        await this.when(() => this.writesInFlight === 0 && this.readsInFlight === 0);",
    replace: "this.gate = 'writes';\n        await this.when(() => this.writesInFlight === 0);",
  },
  {
    name: 'pin-forgotten',
    invariant: 'I5',
    breaks: 'a drain does not wait for the I/O in flight',
    file: 'volume/local-slot.js',
    find: 'if (this.inFlight[before] === 0)',
    replace: 'if (this.inFlight[before] >= 0)',
  },
  {
    name: 'not-emptied',
    invariant: 'I3',
    breaks: 'the destination keeps the bytes of an attempt before',
    file: 'migration/destination.js',
    find: 'await file.punch(fromBytes, toBytes - fromBytes);',
    replace: 'void file;',
  },
  // That late messages of an attempt are told by their token is a second line: an attempt ends with all of its messages
  // answered, or with the links that carried them, and no link opens before what came over those is done (association.ts).
  {
    name: 'link-undrained',
    invariant: 'I8',
    breaks: 'a link opens while requests of the one before are in service',
    file: 'peer/association.js',
    find: 'await this.drain(link);',
    replace: '',
  },
  // That a destination refuses an extent from a member that does not hold it is a second line: only a holder asks (batch.ts
  // asserts it), and what a process that is gone has asked ends with its links, which the hello of its next life closes.
  {
    name: 'back-before-gone',
    invariant: 'I1',
    breaks: 'an extent comes back to a member that still waits for the answer of its own commit',
    file: 'migration/destination.js',
    find: 'if (volume.isLeaving(extent)) {',
    replace: 'if (volume.isLeaving(extent) && extent < 0) {',
  },
  {
    name: 'lost-answer-is-failure',
    invariant: 'I3',
    breaks: 'a commit whose answer was lost counts as not made',
    file: 'migration/batch.js',
    find: 'if (await this.wasCommitted(error))\n                    return true;',
    replace: 'void this.wasCommitted;\n                throw error;',
  },
  {
    name: 'commit-unconditional',
    invariant: 'I3',
    breaks: 'a commit overwrites what somebody else has committed since',
    file: 'routing/table.js',
    find: '[compare, ...conditions], operations',
    replace: '[...conditions], operations',
  },
  {
    name: 'given-back-before-commit',
    invariant: 'I1',
    breaks: 'the source throws its bytes away before the commit',
    file: 'migration/batch.js',
    find: "waypoints.reached('batch.sealed');",
    replace:
      'for (const { file, fromBytes, toBytes } of interceptors)\n                await file.punch(fromBytes, toBytes - fromBytes);',
  },
  {
    name: 'never-given-back',
    invariant: '-',
    breaks: 'the source keeps the space of what it gave away',
    file: 'migration/batch.js',
    find: 'giveBack(this.extents);',
    replace: 'void giveBack;',
  },
  {
    name: 'debt-not-forgiven',
    invariant: 'I1',
    breaks: 'space owed from an earlier move is given back while the extent is received again',
    file: 'member/held-volume.js',
    find: 'this.owed.delete(extent);\n    }\n',
    replace: 'void extent;\n    }\n',
  },
  {
    name: 'queue-not-replayed',
    invariant: 'I5',
    breaks: 'what was held back at a commit is never sent to the new holder',
    file: 'migration/interceptor.js',
    find: 'origin.again(io);',
    replace: 'void origin;\n            void io;',
  },
  {
    name: 'stale-epoch-served',
    invariant: 'I4',
    breaks: 'a member serves an extent that it gave away, to a peer with an old route',
    file: 'peer/holder-service.js',
    find: 'if (!volume.holdsHere(extent)) {\n                this.stale();',
    replace: 'if (!volume.holdsHere(extent)) {\n                volume.local.submit(this, extent, this);',
  },
  {
    name: 'stale-flush-served',
    invariant: 'I1',
    breaks: 'a flush that was sent along an old route counts as complete',
    file: 'peer/holder-service.js',
    find: 'if (this.request.epoch < volume.epoch)',
    replace: 'if (this.request.epoch < 0)',
  },
  {
    name: 'lease-ignored',
    invariant: 'I4',
    breaks: 'a member serves on after its lease has run out',
    file: 'group/membership.js',
    find: 'return !this.hasLeft && this.options.clock.nowMs() < this.lease.validUntilMs;',
    replace: 'return !this.hasLeft;',
  },
  {
    name: 'left-behind-serves',
    invariant: 'I8',
    breaks: 'after a lost lease, old sessions of a volume that moved on write again',
    file: 'member/host.js',
    find: 'this.options.cutOff(held.record.iqn);\n            held.leaveBehind();',
    replace: '',
  },
  {
    name: 'login-unfenced',
    invariant: 'I8',
    breaks: 'a login is answered without fencing the old nexus',
    file: 'member/directory.js',
    find: 'await this.fencer.fenceEverywhere(routed, login, this.everyPortal === null ? login.isid : null);',
    replace: 'void login;',
  },
  {
    name: 'fence-without-drain',
    invariant: 'I8',
    breaks: 'a fence forgets the old session instead of waiting for its end',
    file: 'iscsi/target/registry.js',
    find: 'await Promise.all(left.map((session) => new Promise((resolve) => this.whenEnded(session, resolve))));',
    replace: 'for (const session of left)\n            this.sessions.delete(session);',
  },
  {
    name: 'absent-not-ended',
    invariant: 'I8',
    breaks: 'a fence leaves the links of processes that are gone',
    file: 'member/fencer.js',
    find: 'await this.options.endAbsent(present);\n        this.options.fenced(',
    replace: 'void present;\n        this.options.fenced(',
  },
  {
    name: 'never-told',
    invariant: 'I7',
    breaks: 'initiators are not told that the home has moved',
    file: 'member/route-sessions.js',
    find: 'const sessions = registry.requestLogout(iqn, HANDOVER_DEADLINE_SECONDS, mode);',
    replace: 'const sessions = 0 * HANDOVER_DEADLINE_SECONDS * mode.length;',
  },
  {
    name: 'leave-before-idle',
    invariant: 'I7',
    breaks: 'a session ends while its commands are in flight',
    file: 'iscsi/target/departure.js',
    find: 'session.whenIdle(() => {',
    replace: '((now) => now())(() => {',
  },
  {
    name: 'tag-reused',
    invariant: 'I7',
    breaks: 'a command that is sent again after a hand-over keeps its task tag, which another has by then',
    file: 'iscsi/initiator/task-table.js',
    find: 'task.initiatorTaskTag = this.uses',
    replace: 'if (task.recovery === null)\n            task.initiatorTaskTag = this.uses',
  },
  {
    name: 'old-home-serves',
    invariant: 'I10',
    breaks: 'who is not home any more goes on serving',
    file: 'member/directory.js',
    find: 'if (!isServedHere)',
    replace: 'if (isServedHere === undefined)',
  },
  {
    name: 'redirect-loop',
    invariant: 'I10',
    breaks: 'the old home redirects to itself',
    file: 'member/directory.js',
    find: 'return redirectToHome(this.portals, routed.route.home);',
    replace: 'return redirectToHome(this.portals, this.self);',
  },
  {
    name: 'fua-not-durable',
    invariant: 'I1',
    breaks: 'a write with FUA is answered from the page cache',
    file: 'storage/sparse-file.js',
    find: 'this.durableWriter.write(io);',
    replace:
      '{\n                    io.fua = false;\n                    this.writer.write(io);\n                }',
  },
  {
    name: 'fua-not-forwarded',
    invariant: 'I1',
    breaks: 'FUA is lost on the way to the holder',
    file: 'peer/remote-slot.js',
    find: 'this.fua = io.fua;',
    replace: 'this.fua = false;',
  },
  {
    name: 'flush-only-here',
    invariant: 'I1',
    breaks: 'SYNCHRONIZE CACHE asks the local holder alone',
    file: 'volume/volume.js',
    find: 'if (holders.length === 1 && only === this.self) {',
    replace: 'if (holders.includes(this.self)) {',
  },
  {
    name: 'flush-error-forgotten',
    invariant: 'I1',
    breaks: 'after a failed flush the next one counts as good',
    file: 'storage/flusher.js',
    find: 'this.fail(cause.message);',
    replace: '',
  },
  {
    name: 'flush-error-unseen',
    invariant: 'I1',
    breaks: 'a failed flush is answered with GOOD',
    file: 'storage/flusher.js',
    find: "error = ioErrorOf(cause, 'write');",
    replace: '',
  },
  {
    name: 'loss-untold',
    invariant: 'I1',
    breaks: 'a flush is answered with GOOD after a holder has lost what it had acknowledged',
    file: 'member/other-holders.js',
    find: 'this.losses += 1;',
    replace: '',
  },
  {
    name: 'never-begun',
    invariant: 'I1',
    breaks: 'a new volume stays at epoch 1: its file is made anew at the next start',
    file: 'member/held-volume.js',
    find: 'await this.beginRoute();',
    replace: '',
  },
  {
    name: 'held-is-leftover',
    invariant: 'I1',
    breaks: 'a starting member removes the files of what it holds',
    file: 'member/leftovers.js',
    find: 'const isHeld = route?.countByHolder().has(self) === true;',
    replace: 'const isHeld = route?.countByHolder().has(self) === null;',
  },
];

/** @returns the file's text with the bug in it; null when the mutant does not fit any more */
export function plantIn(text: string, { find, replace }: Mutant): string | null {
  const parts = text.split(find);
  return parts.length === 2 ? parts.join(replace) : null;
}
