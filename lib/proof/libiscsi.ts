/**
 * libiscsi itself, the library under QEMU, called through koffi: a unit that a workload runs on as it does on our own
 * initiator, so that its stalls are measured command by command and its reads are judged by the same ledger. libiscsi
 * reconnects, follows redirects and sends unanswered commands again by itself; that it does is read from its log.
 *
 * It belongs in a process of its own: pump() waits in poll(2).
 */
import { createRequire } from 'node:module';
import type Koffi from 'koffi';
import { systemClock } from '../base/clock.js';
import { BlockferryError } from '../base/errors.js';
import { initiatorIqn } from '../base/iscsi-names.js';
import {
  describeStatus,
  formatPortal,
  parseCapacity,
  parseIscsiUrl,
  type Capacity,
  type InitiatorTask,
  type IscsiUrl,
  type LoadedUnit,
  type Recovery,
} from '../iscsi/initiator/index.js';
import { PromisedTask, expectGood } from '../iscsi/initiator/execute.js';
import { readCapacity16, synchronizeCache16 } from '../iscsi/initiator/cdb.js';

const LIBRARY = 'libiscsi.so.7';
const INITIATOR_NAME = initiatorIqn('libiscsi');
/** enum iscsi_session_type, iscsi_header_digest; the level that tells of redirects and reconnections. */
const SESSION_NORMAL = 2;
const DIGEST_NONE = 0;
const LOG_LEVEL = 2;
/** How long pump() sleeps when nothing comes. */
const POLL_MS = 2;

const Opcode = { READ16: 0x88, WRITE16: 0x8a, SYNCHRONIZE_CACHE16: 0x91, SERVICE_ACTION_IN16: 0x9e } as const;

const require = createRequire(import.meta.url);
type Handle = object;

/** What we call of it, by the names of iscsi.h; null where the library or koffi is missing. */
function loadLibrary() {
  try {
    const koffi = require('koffi') as typeof Koffi;
    const lib = koffi.load(LIBRARY);
    const done = koffi.proto('void Done(void *iscsi, int status, void *data, size_t index)');
    const log = koffi.proto('void Log(int level, const char *message)');
    // iscsi, lun, lba, [data,] bytes, block size, protect, dpo, fua, fua_nv, group
    const tail = 'uint32_t, int, int, int, int, int, int, Done *, size_t';
    return {
      onDone: (heard: (iscsi: Handle, status: number, data: Handle, index: number) => void) =>
        koffi.register(heard, koffi.pointer(done)),
      onLog: (heard: (level: number, message: string) => void) => koffi.register(heard, koffi.pointer(log)),
      create: lib.func('void *iscsi_create_context(const char *)'),
      destroy: lib.func('int iscsi_destroy_context(void *)'),
      setTarget: lib.func('int iscsi_set_targetname(void *, const char *)'),
      setType: lib.func('int iscsi_set_session_type(void *, int)'),
      setHeaderDigest: lib.func('int iscsi_set_header_digest(void *, int)'),
      setLogLevel: lib.func('void iscsi_set_log_level(void *, int)'),
      setLog: lib.func('void iscsi_set_log_fn(void *, Log *)'),
      connect: lib.func('int iscsi_full_connect_sync(void *, const char *, int)'),
      logout: lib.func('int iscsi_logout_sync(void *)'),
      error: lib.func('const char *iscsi_get_error(void *)'),
      fd: lib.func('int iscsi_get_fd(void *)'),
      events: lib.func('int iscsi_which_events(void *)'),
      service: lib.func('int iscsi_service(void *, int)'),
      read16: lib.func(`void *iscsi_read16_task(void *, int, uint64_t, ${tail})`),
      write16: lib.func(`void *iscsi_write16_task(void *, int, uint64_t, void *, ${tail})`),
      sync16: lib.func(
        'void *iscsi_synchronizecache16_task(void *, int, uint64_t, uint32_t, int, int, Done *, size_t)',
      ),
      capacity16: lib.func('void *iscsi_readcapacity16_task(void *, int, Done *, size_t)'),
      readInto: lib.func('int scsi_task_add_data_in_buffer(void *, int, void *)'),
      freeTask: lib.func('void scsi_free_scsi_task(void *)'),
      poll: koffi.load(null).func('int poll(void *, unsigned long, int)'),
    };
  } catch {
    return null;
  }
}

/** Undefined when libiscsi can be called here, else what is missing. */
export function whyNoLibiscsi(): string | undefined {
  return loadLibrary() === null ? `${LIBRARY} not installed (Debian: apt-get install libiscsi7)` : undefined;
}

interface Sent {
  readonly task: InitiatorTask;
  readonly handle: Handle;
}

export class LibiscsiUnit implements LoadedUnit {
  readonly recoveries: Recovery[] = [];
  readonly violations: string[] = [];
  /** Redirects followed, the first login's included. */
  redirects = 0;
  private readonly library: NonNullable<ReturnType<typeof loadLibrary>>;
  private readonly url: IscsiUrl;
  private readonly sent = new Map<number, Sent>();
  private readonly onDone: unknown;
  private readonly onLog: unknown;
  private readonly pollFd = Buffer.alloc(8); // struct pollfd: fd, events, revents
  private context: Handle | null = null;
  /** Submitted while there is no session. */
  private waiting: InitiatorTask[] = [];
  private nextIndex = 1;
  private lostAtMs = 0;
  private isClosed = false;
  private capacity_: Capacity | null = null;

  private constructor(url: string) {
    const library = loadLibrary();
    if (library === null) throw new BlockferryError('UNAVAILABLE', whyNoLibiscsi() ?? '');
    this.library = library;
    this.url = parseIscsiUrl(url);
    this.onDone = library.onDone((_iscsi, status, _data, index) => this.done(Number(index), status));
    this.onLog = library.onLog((_level, message) => this.heard(message));
  }

  static async connect(url: string): Promise<LibiscsiUnit> {
    const unit = new LibiscsiUnit(url);
    unit.open();
    void unit.keepPumping();
    const task = new PromisedTask();
    readCapacity16(task.cdb, 32);
    task.dataIn = Buffer.alloc(32);
    unit.submit(task);
    unit.capacity_ = parseCapacity(expectGood('READ CAPACITY(16)', await task.result).dataIn);
    return unit;
  }

  get capacity(): Capacity {
    if (this.capacity_ === null) throw new BlockferryError('UNAVAILABLE', 'not connected yet');
    return this.capacity_;
  }

  nowMs(): number {
    return systemClock.nowMs();
  }

  submit(task: InitiatorTask): void {
    task.submittedAtMs = this.nowMs();
    task.rewind();
    if (this.context === null) this.waiting.push(task);
    else this.send(this.context, task);
  }

  async flush(lba = 0, blocks = 0): Promise<void> {
    const task = new PromisedTask();
    synchronizeCache16(task.cdb, lba, blocks);
    this.submit(task);
    expectGood('SYNCHRONIZE CACHE(16)', await task.result);
  }

  /**
   * A new session in a new context, when nothing is outstanding. libiscsi lets three seconds pass between two
   * reconnections of one context, which would be measured instead of ours.
   */
  async renew(): Promise<void> {
    const { context } = this;
    this.context = null;
    while (this.sent.size > 0) {
      if (context !== null) this.pump(context);
      await turn();
    }
    this.leave(context);
    this.open();
    const waiting = this.waiting;
    this.waiting = [];
    for (const task of waiting) if (this.context !== null) this.send(this.context, task);
  }

  close(): void {
    this.isClosed = true;
    this.leave(this.context);
    this.context = null;
  }

  private open(): void {
    const { library, url } = this;
    const context = library.create(INITIATOR_NAME) as Handle;
    library.setLog(context, this.onLog);
    library.setLogLevel(context, LOG_LEVEL);
    library.setTarget(context, url.iqn);
    library.setType(context, SESSION_NORMAL);
    library.setHeaderDigest(context, DIGEST_NONE);
    if (library.connect(context, formatPortal(url), url.lun) !== 0) {
      throw new BlockferryError('UNAVAILABLE', `libiscsi: ${String(library.error(context)).trim()}`);
    }
    this.context = context;
  }

  private leave(context: Handle | null): void {
    if (context === null) return;
    this.library.logout(context);
    this.library.destroy(context);
  }

  private async keepPumping(): Promise<void> {
    while (!this.isClosed) {
      if (this.context !== null) this.pump(this.context);
      await turn();
    }
  }

  /** As QEMU does: a failure of the connection is libiscsi's own affair, and it comes back by itself. */
  private pump(context: Handle): void {
    const { library, pollFd } = this;
    pollFd.writeInt32LE(Number(library.fd(context)), 0);
    pollFd.writeInt16LE(Number(library.events(context)), 4);
    pollFd.writeInt16LE(0, 6);
    library.poll(pollFd, 1, POLL_MS);
    library.service(context, pollFd.readInt16LE(6));
  }

  private send(context: Handle, task: InitiatorTask): void {
    const index = this.nextIndex++;
    const handle = this.queue(context, task, index);
    if (handle === null) {
      const failure = new BlockferryError('IO', `libiscsi: ${String(this.library.error(context)).trim()}`);
      setImmediate(() => task.completed(failure));
    } else {
      this.sent.set(index, { task, handle });
    }
  }

  private queue(context: Handle, task: InitiatorTask, index: number): Handle | null {
    const { library, onDone, url } = this;
    const { cdb, dataOut, dataIn } = task;
    const lba = cdb.readUInt32BE(2) * 2 ** 32 + cdb.readUInt32BE(6);
    const blockBytes = this.capacity_?.blockBytes ?? 512;
    const fua = cdb[1] === 0x08 ? 1 : 0;
    switch (cdb[0]) {
      case Opcode.READ16: {
        const from = [context, url.lun, lba, dataIn.length, blockBytes, 0, 0, 0, 0, 0];
        return this.into(library.read16(...from, onDone, index) as Handle | null, dataIn);
      }
      case Opcode.WRITE16: {
        const to = [context, url.lun, lba, dataOut, dataOut.length, blockBytes, 0, 0, fua, 0, 0];
        return library.write16(...to, onDone, index) as Handle | null;
      }
      case Opcode.SYNCHRONIZE_CACHE16:
        return library.sync16(
          context,
          url.lun,
          lba,
          cdb.readUInt32BE(10),
          0,
          0,
          onDone,
          index,
        ) as Handle | null;
      case Opcode.SERVICE_ACTION_IN16:
        return this.into(library.capacity16(context, url.lun, onDone, index) as Handle | null, dataIn);
      default:
        throw new BlockferryError('INTERNAL', `operation code ${cdb[0]} is not passed on to libiscsi`);
    }
  }

  private into(handle: Handle | null, dataIn: Buffer): Handle | null {
    if (handle !== null) this.library.readInto(handle, dataIn.length, dataIn);
    return handle;
  }

  private done(index: number, status: number): void {
    const sent = this.sent.get(index);
    if (sent === undefined) return void this.violations.push('a command was answered twice');
    this.sent.delete(index);
    this.library.freeTask(sent.handle);
    const { task } = sent;
    task.status = status & 0xff;
    task.receivedBytes = task.dataIn.length;
    // Above 255 are libiscsi's own: cancelled, an error, a timeout.
    const failure =
      status > 0xff
        ? new BlockferryError('IO', `libiscsi gave a command up: ${describeStatus(status, task.sense)}`)
        : null;
    task.completed(failure);
  }

  private heard(message: string): void {
    if (message.startsWith('target requests redirect')) this.redirects += 1;
    else if (message.startsWith('reconnect initiated')) this.lostAtMs = this.nowMs();
    else if (message.startsWith('reconnect was successful')) {
      const downMs = this.nowMs() - this.lostAtMs;
      this.recoveries.push({
        ...{ reason: 'reconnected', announced: null, atMs: systemClock.wallMs() - downMs, downMs },
        ...{ attempts: 1, hops: [], resent: 0, stallMsMax: downMs },
      });
    }
  }
}

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
