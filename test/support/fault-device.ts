/**
 * A filter that makes chosen requests fail, wait or stop, so that what stands above it can be tried against a bad
 * disk. Without rules it passes everything through; it never invents data.
 */
import type { Clock } from '../../lib/base/clock.js';
import { assert } from '../../lib/base/assert.js';
import {
  type BlockDevice,
  BlockIo,
  type BlockOp,
  IoError,
  type IoErrorCode,
} from '../../lib/block/device.js';

/** What happens to a request that a rule chooses. */
export type FaultAction =
  /** `afterEffect`: the medium was changed nonetheless, as by a write whose answer was lost. */
  | { readonly kind: 'fail'; readonly code: IoErrorCode; readonly afterEffect?: boolean }
  | { readonly kind: 'delay'; readonly delayMs: number }
  /** Held until release(). */
  | { readonly kind: 'pause' };

export interface FaultRule {
  /** Which operations; all of them by default. */
  readonly ops?: readonly BlockOp[];
  /** Requests that touch [fromBytes, toBytes); the whole device, and every flush, by default. */
  readonly fromBytes?: number;
  readonly toBytes?: number;
  /** Lets this many pass first. */
  readonly skip?: number;
  /** Acts on this many, then no longer; without end by default. */
  readonly times?: number;
  readonly action: FaultAction;
}

/** Passes a request on with its completion redirected. */
class FilteredIo extends BlockIo {
  constructor(
    private readonly outer: BlockIo,
    private readonly instead: IoError,
  ) {
    super();
    this.prepare(outer.op, outer.offsetBytes, outer.lengthBytes, outer.data, outer.fua);
  }

  protected override completed(error: IoError | null): void {
    this.outer.complete(error ?? this.instead);
  }
}

/** A rule at work. */
export class Fault {
  /** How many requests it has acted on. */
  hits = 0;
  private seen = 0;
  private readonly held: BlockIo[] = [];

  constructor(
    private readonly rule: FaultRule,
    private readonly device: FaultDevice,
  ) {}

  /** Requests held by a 'pause'. */
  get heldCount(): number {
    return this.held.length;
  }

  get action(): FaultAction {
    return this.rule.action;
  }

  /** Whether the rule acts on `io`; counts it. */
  takes(io: BlockIo): boolean {
    const { ops, skip = 0, times = Infinity } = this.rule;
    if (ops !== undefined && !ops.includes(io.op)) return false;
    if (!this.touches(io)) return false;
    this.seen += 1;
    if (this.seen <= skip || this.hits >= times) return false;
    this.hits += 1;
    return true;
  }

  hold(io: BlockIo): void {
    this.held.push(io);
  }

  /** Lets what is held go on, in its order; the rule goes on holding what comes later. */
  release(): void {
    for (const io of this.held.splice(0)) this.device.passOn(io);
  }

  /** Takes the rule away and lets go what it holds. */
  remove(): void {
    this.device.forget(this);
    this.release();
  }

  private touches(io: BlockIo): boolean {
    const { fromBytes = 0, toBytes = Infinity } = this.rule;
    if (io.op === 'flush') return fromBytes === 0 && toBytes === Infinity;
    return io.offsetBytes < toBytes && io.offsetBytes + io.lengthBytes > fromBytes;
  }
}

export class FaultDevice implements BlockDevice {
  readonly sizeBytes: number;
  readonly blockBytes: number;
  readonly readOnly: boolean;
  private readonly faults: Fault[] = [];

  constructor(
    private readonly inner: BlockDevice,
    private readonly clock: Clock,
  ) {
    this.sizeBytes = inner.sizeBytes;
    this.blockBytes = inner.blockBytes;
    this.readOnly = inner.readOnly;
  }

  /** Adds a rule; of several that choose one request, the oldest acts. */
  add(rule: FaultRule): Fault {
    const fault = new Fault(rule, this);
    this.faults.push(fault);
    return fault;
  }

  submit(io: BlockIo): void {
    for (const fault of this.faults) {
      if (fault.takes(io)) {
        this.act(fault, io);
        return;
      }
    }
    this.inner.submit(io);
  }

  /** For Fault: sends a held request on its way. */
  passOn(io: BlockIo): void {
    this.inner.submit(io);
  }

  /** For Fault: no longer asks it. */
  forget(fault: Fault): void {
    const at = this.faults.indexOf(fault);
    assert(at >= 0, 'a fault is removed once');
    this.faults.splice(at, 1);
  }

  private act(fault: Fault, io: BlockIo): void {
    const { action } = fault;
    switch (action.kind) {
      case 'fail': {
        const error = new IoError(action.code, `injected into ${io.op} at ${io.offsetBytes}`);
        if (action.afterEffect === true) this.inner.submit(new FilteredIo(io, error));
        else io.complete(error);
        break;
      }
      case 'delay':
        this.clock.after(action.delayMs, () => this.inner.submit(io));
        break;
      case 'pause':
        fault.hold(io);
        break;
    }
  }
}
