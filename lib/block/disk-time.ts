/**
 * A filter that makes a disk slower than it is: it serves one request at a time, and each takes so long. For
 * demonstrations and tests, where all members share one fast disk. It changes nothing but the time.
 */
import type { Clock, Timer } from '../base/clock.js';
import { assert } from '../base/assert.js';
import type { BlockDevice, BlockIo, Provisioning, Usage } from './device.js';

/** The one disk under all volumes of a member. */
export class DiskTime {
  private readonly waiting: { readonly io: BlockIo; readonly device: BlockDevice; readonly dueMs: number }[] =
    [];
  private freeAtMs = 0;
  private timer: Timer | null = null;

  /** @param serviceMs what one request takes, also below a millisecond: requests that are due together end together */
  constructor(
    private readonly serviceMs: number,
    private readonly clock: Clock,
  ) {}

  /** The device as it is on this disk. */
  slowed(device: BlockDevice): BlockDevice {
    return new SlowedDevice(device, this);
  }

  /** Passes it on when the disk has come to it. */
  take(io: BlockIo, device: BlockDevice): void {
    const nowMs = this.clock.nowMs();
    this.freeAtMs = Math.max(this.freeAtMs, nowMs) + this.serviceMs;
    this.waiting.push({ io, device, dueMs: this.freeAtMs });
    this.timer ??= this.clock.after(this.freeAtMs - nowMs, () => this.serve());
  }

  private serve(): void {
    this.timer = null;
    const nowMs = this.clock.nowMs();
    const later = this.waiting.findIndex(({ dueMs }) => dueMs > nowMs);
    const due = this.waiting.splice(0, later === -1 ? this.waiting.length : later);
    const [next] = this.waiting;
    if (next !== undefined) this.timer = this.clock.after(next.dueMs - nowMs, () => this.serve());
    for (const { io, device } of due) device.submit(io);
  }
}

/** It maps nothing: what is read from the page cache would take no time. */
class SlowedDevice implements BlockDevice {
  readonly sizeBytes: number;
  readonly blockBytes: number;
  readonly readOnly: boolean;

  constructor(
    private readonly device: BlockDevice,
    private readonly disk: DiskTime,
  ) {
    this.sizeBytes = device.sizeBytes;
    this.blockBytes = device.blockBytes;
    this.readOnly = device.readOnly;
  }

  submit(io: BlockIo): void {
    this.disk.take(io, this.device);
  }

  provisioning(offsetBytes: number, lengthBytes: number): Provisioning {
    return this.device.provisioning?.(offsetBytes, lengthBytes) ?? { mapped: true, lengthBytes };
  }

  async usage(): Promise<Usage> {
    assert(this.device.usage !== undefined, 'a file says what it takes');
    return this.device.usage();
  }
}
