/**
 * The copy manager at work (SPC-4 5.16): segment by segment, each read and written in pieces. Everything that may come in
 * between is looked at before each of them: a reservation, write protection, a medium that is out, a unit that another
 * member serves by now. What was copied before a segment failed stays copied, and the sense data says which one it was.
 */
import { assert } from '../../base/assert.js';
import { CLEAR_PIECE_BYTES_MAX, COPY_SEGMENT_BYTES_MAX, PIECE_BYTES_MAX } from '../../base/limits.js';
import type { Piece } from '../pieces.js';
import { isBarred } from '../reservations/access.js';
import { type CopyAnswer, type FieldPointer, type Sense, SENSE } from '../sense.js';
import { type ScsiNexus, ScsiStatus, type ScsiTask } from '../task.js';
import type { DiskUnit } from '../unit.js';
import { designates } from '../vpd/device-identification.js';
import type { CopyRun } from './copies.js';
import { type CopyList, type Cscd, OWN_UNIT, type Segment, segmentField } from './parameter-list.js';
import type { Visits } from './visits.js';

/** One end of a segment: a unit, and as whom the copy is there. */
interface End {
  readonly by: CopyAnswer['by'];
  readonly unit: DiskUnit;
  readonly nexus: ScsiNexus;
  readonly lba: number;
  /** Where its LBA stands in the segment descriptor. */
  readonly lbaAt: number;
}

/** A part of a segment, counted from its start. */
interface Stretch {
  readonly at: number;
  readonly lengthBytes: number;
  readonly isHole: boolean;
}

function inSegment(byte: number): FieldPointer {
  return { inCdb: false, inSegment: true, byte };
}

export class Copier {
  private segment = 0;
  private buffer: Buffer | null = null;

  constructor(
    /** That the command was sent to. */
    private readonly own: DiskUnit,
    private readonly task: ScsiTask,
    private readonly list: CopyList,
    private readonly run: CopyRun,
    private readonly visits: Visits,
  ) {}

  *pieces(): Generator<Piece, Sense | null> {
    for (const [index, segment] of this.list.segments.entries()) {
      this.segment = index;
      const fault = yield* this.copySegment(segment);
      if (fault !== null) return fault;
      this.run.segmentsProcessed += 1;
    }
    return null;
  }

  private *copySegment(segment: Segment): Generator<Piece, Sense | null> {
    const source = this.reach(segment, 'source');
    if ('senseKey' in source) return source;
    const destination = this.reach(segment, 'destination');
    if ('senseKey' in destination) return destination;
    const counted = segment.countsDestination ? destination : source;
    const lengthBytes = segment.blocks * counted.unit.blockBytes;
    const fault =
      this.findLengthFault(segment, source, destination, lengthBytes) ??
      this.findRangeFault(source, lengthBytes) ??
      this.findRangeFault(destination, lengthBytes);
    if (fault !== null) return fault;
    for (const stretch of stretches(source, destination, lengthBytes)) {
      const failure = yield* this.copyStretch(source, destination, stretch);
      if (failure !== null) return failure;
      this.run.bytesWritten += stretch.lengthBytes;
    }
    return null;
  }

  private *copyStretch(source: End, destination: End, stretch: Stretch): Generator<Piece, Sense | null> {
    const { at, lengthBytes, isHole } = stretch;
    const refusal = this.refusalAt(source) ?? this.refusalAt(destination);
    if (refusal !== null) return refusal;
    const fua = destination.unit.writesThrough;
    const there = { ...this.goesTo(destination, at), lengthBytes, fua };
    if (isHole) {
      yield { op: 'discard', ...there };
      return null;
    }
    this.buffer ??= Buffer.allocUnsafe(PIECE_BYTES_MAX);
    const data = this.buffer.subarray(0, lengthBytes);
    yield { op: 'read', ...this.goesTo(source, at), lengthBytes, data };
    const refusalSince = this.refusalAt(destination);
    if (refusalSince !== null) return refusalSince;
    yield { op: 'write', ...there, data };
    return null;
  }

  private goesTo(end: End, at: number): Pick<Piece, 'device' | 'offsetBytes' | 'failed'> {
    const { unit, lba, by } = end;
    return {
      device: unit.device,
      offsetBytes: lba * unit.blockBytes + at,
      failed: (sense) => this.failed({ by, status: ScsiStatus.CHECK_CONDITION, sense }),
    };
  }

  // ---- what aborts it

  private aborted(outcome: Sense, field?: FieldPointer): Sense {
    return { ...outcome, copy: { segment: this.segment }, ...(field && { field }) };
  }

  /** A unit did not do what it was asked for. */
  private failed(answer: CopyAnswer): Sense {
    return { ...SENSE.THIRD_PARTY_DEVICE_FAILURE, copy: { segment: this.segment, answer } };
  }

  private reach(segment: Segment, by: End['by']): End | Sense {
    const [lba, lbaAt] =
      by === 'source'
        ? [segment.sourceLba, segmentField.sourceLba]
        : [segment.destinationLba, segmentField.destinationLba];
    const { own, task } = this;
    if (segment[by] === OWN_UNIT) return { by, unit: own, nexus: task.nexus, lba, lbaAt };
    const cscd = this.list.cscds[segment[by]];
    if (cscd === undefined)
      return this.aborted(SENSE.COPY_TARGET_DEVICE_NOT_REACHABLE, inSegment(segmentField[by]));
    const unit = this.find(cscd);
    const nexus = unit === own ? task.nexus : unit && this.visits.at(unit);
    if (unit === null || nexus === null)
      return this.aborted(SENSE.COPY_TARGET_DEVICE_NOT_REACHABLE, { inCdb: false, byte: cscd.at + 4 });
    if (cscd.peripheralDeviceType !== 0)
      return this.aborted(SENSE.INCORRECT_COPY_TARGET_DEVICE_TYPE, { inCdb: false, byte: cscd.at + 1 });
    if (cscd.blockBytes !== 0 && cscd.blockBytes !== unit.blockBytes)
      return this.aborted(SENSE.INVALID_FIELD_IN_COPY_DESCRIPTOR, { inCdb: false, byte: cscd.at + 29 });
    return { by, unit, nexus, lba, lbaAt };
  }

  private find({ isNull, designator }: Cscd): DiskUnit | null {
    if (isNull) return null;
    if (designates(designator, this.own)) return this.own;
    for (const unit of this.own.others()) if (designates(designator, unit)) return unit;
    return null;
  }

  private findLengthFault(
    segment: Segment,
    source: End,
    destination: End,
    lengthBytes: number,
  ): Sense | null {
    if (segment.fastCopyOnly)
      return this.aborted(SENSE.FAST_COPY_NOT_POSSIBLE, inSegment(segmentField.flags));
    if (lengthBytes > COPY_SEGMENT_BYTES_MAX)
      return this.aborted(SENSE.INVALID_FIELD_IN_COPY_DESCRIPTOR, inSegment(segmentField.blocks));
    const isExact = [source, destination].every(({ unit }) => lengthBytes % unit.blockBytes === 0);
    return isExact ? null : this.aborted(SENSE.UNEXPECTED_INEXACT_SEGMENT, inSegment(segmentField.blocks));
  }

  private findRangeFault({ unit, lba, lbaAt }: End, lengthBytes: number): Sense | null {
    const isBeyondEnd = unit.isBeyondEnd(lba, lengthBytes / unit.blockBytes);
    return isBeyondEnd ? this.aborted(SENSE.COPY_ABORTED, inSegment(lbaAt)) : null;
  }

  /** Why a unit does not let the copy read from it, or write to it, now. */
  private refusalAt(end: End): Sense | null {
    const { unit, nexus, by } = end;
    if (unit !== this.own && ![...this.own.others()].includes(unit))
      return this.aborted(SENSE.COPY_TARGET_DEVICE_NOT_REACHABLE);
    if (this.visits.isAborted) return this.failed({ by, status: ScsiStatus.TASK_ABORTED, sense: null });
    const access = by === 'source' ? 'read' : 'write';
    if (isBarred(unit.reservations.state, nexus.initiatorPortName, access))
      return this.failed({ by, status: ScsiStatus.RESERVATION_CONFLICT, sense: null });
    const isProtected = by === 'destination' && unit.readOnly;
    const sense = unit.obstacleSince(this.task) ?? (isProtected ? SENSE.WRITE_PROTECTED : null);
    return sense === null ? null : this.failed({ by, status: ScsiStatus.CHECK_CONDITION, sense });
  }
}

/**
 * What is copied at once. Holes of the source become holes of the destination without being read. A segment that lies
 * partly on itself is copied in the order in which nothing is written over before it was read.
 */
function* stretches(source: End, destination: End, lengthBytes: number): Generator<Stretch> {
  const from = source.lba * source.unit.blockBytes;
  const to = destination.lba * destination.unit.blockBytes;
  if (source.unit === destination.unit && to > from && to < from + lengthBytes) {
    for (let end = lengthBytes; end > 0; end -= PIECE_BYTES_MAX) {
      const at = Math.max(0, end - PIECE_BYTES_MAX);
      yield { at, lengthBytes: end - at, isHole: false };
    }
    return;
  }
  const grainBytes = Math.max(source.unit.blockBytes, destination.unit.blockBytes);
  for (let at = 0; at < lengthBytes;) {
    const left = lengthBytes - at;
    const look = source.unit.device.provisioning(from + at, left);
    const most = Math.min(look.lengthBytes, left, look.mapped ? PIECE_BYTES_MAX : CLEAR_PIECE_BYTES_MAX);
    const whole = most - (most % grainBytes);
    assert(most > 0, 'a device that says nothing of its holes');
    const stretch = { at, lengthBytes: Math.max(whole, grainBytes), isHole: !look.mapped && whole > 0 };
    yield stretch;
    at += stretch.lengthBytes;
  }
}
