/**
 * The copy manager at work (SPC-4 5.16): segment by segment, each read and written in pieces. Everything that may come in
 * between is looked at before each of them, where the unit is served (guest.ts): a reservation, write protection, a medium
 * that is out. What was copied before a segment failed stays copied, and the sense data says which one it was.
 */
import { assert } from '../../base/assert.js';
import { CLEAR_PIECE_BYTES_MAX, COPY_SEGMENT_BYTES_MAX, PIECE_BYTES_MAX } from '../../base/limits.js';
import type { IoError } from '../../block/device.js';
import type { Piece } from '../pieces.js';
import { refusalOf } from '../refusal.js';
import { type CopyAnswer, type FieldPointer, type Sense, SENSE } from '../sense.js';
import type { ScsiTask } from '../task.js';
import type { DiskUnit } from '../unit.js';
import { designates } from '../vpd/device-identification.js';
import type { CopyRun } from './copies.js';
import { Guest } from './guest.js';
import { type CopyList, type Cscd, OWN_UNIT, type Segment, segmentField } from './parameter-list.js';
import { NotReachable, type Visit } from './visit.js';
import { VisitHere, type Visits } from './visits.js';

/** One end of a segment: a unit, and the copy there. */
interface End {
  readonly by: CopyAnswer['by'];
  readonly unit: DiskUnit;
  readonly visit: Visit;
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

/** What is to be done at one end. */
interface Work extends Pick<Piece, 'op' | 'lengthBytes' | 'data'> {
  readonly at: number;
}

function inSegment(byte: number): FieldPointer {
  return { inCdb: false, inSegment: true, byte };
}

export class Copier {
  private segment = 0;
  private buffer: Buffer | null = null;
  private readonly ownVisit: Visit;

  constructor(
    /** That the command was sent to. */
    private readonly own: DiskUnit,
    task: ScsiTask,
    private readonly list: CopyList,
    private readonly run: CopyRun,
    private readonly visits: Visits,
  ) {
    this.ownVisit = new VisitHere(own, new Guest(own, task.nexus));
  }

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
    const source = yield* this.reach(segment, 'source');
    if ('senseKey' in source) return source;
    const destination = yield* this.reach(segment, 'destination');
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
    if (isHole) return yield* this.work(destination, { op: 'discard', at, lengthBytes });
    this.buffer ??= Buffer.allocUnsafe(PIECE_BYTES_MAX);
    const data = this.buffer.subarray(0, lengthBytes);
    const failure = yield* this.work(source, { op: 'read', at, lengthBytes, data });
    if (failure !== null) return failure;
    const isEmpty = !source.visit.knowsHoles && isZero(data);
    return yield* this.work(
      destination,
      isEmpty ? { op: 'discard', at, lengthBytes } : { op: 'write', at, lengthBytes, data },
    );
  }

  /** One piece at one end of the segment, `at` from its start. */
  private *work(end: End, piece: Work): Generator<Piece, Sense | null> {
    const { unit, visit, lba } = end;
    if (!this.isThere(unit)) return this.aborted(SENSE.COPY_TARGET_DEVICE_NOT_REACHABLE);
    const { at, ...fields } = piece;
    const offsetBytes = lba * unit.blockBytes + at;
    yield { ...fields, offsetBytes, device: visit, failed: (error) => this.failed(end.by, error) };
    return null;
  }

  // ---- what aborts it

  private aborted(outcome: Sense, field?: FieldPointer): Sense {
    return { ...outcome, copy: { segment: this.segment }, ...(field && { field }) };
  }

  /** A unit did not do what it was asked for, or could not be asked. */
  private failed(by: End['by'], error: IoError, field?: FieldPointer): Sense {
    if (error instanceof NotReachable) return this.aborted(SENSE.COPY_TARGET_DEVICE_NOT_REACHABLE, field);
    const { status, sense } = refusalOf(error);
    const answer = { by, status, sense };
    return { ...SENSE.THIRD_PARTY_DEVICE_FAILURE, copy: { segment: this.segment, answer } };
  }

  private *reach(segment: Segment, by: End['by']): Generator<Piece, End | Sense> {
    const [lba, lbaAt] =
      by === 'source'
        ? [segment.sourceLba, segmentField.sourceLba]
        : [segment.destinationLba, segmentField.destinationLba];
    const { own } = this;
    if (segment[by] === OWN_UNIT) return { by, unit: own, visit: this.ownVisit, lba, lbaAt };
    const cscd = this.list.cscds[segment[by]];
    if (cscd === undefined)
      return this.aborted(SENSE.COPY_TARGET_DEVICE_NOT_REACHABLE, inSegment(segmentField[by]));
    const unit = this.find(cscd);
    const field = { inCdb: false, byte: cscd.at + 4 };
    if (unit === null) return this.aborted(SENSE.COPY_TARGET_DEVICE_NOT_REACHABLE, field);
    const visit = unit === own ? this.ownVisit : this.visits.at(unit);
    const failed = (error: IoError): Sense => this.failed(by, error, field);
    yield { op: 'read', offsetBytes: 0, lengthBytes: 0, device: visit, failed };
    if (cscd.peripheralDeviceType !== 0)
      return this.aborted(SENSE.INCORRECT_COPY_TARGET_DEVICE_TYPE, { inCdb: false, byte: cscd.at + 1 });
    if (cscd.blockBytes !== 0 && cscd.blockBytes !== unit.blockBytes)
      return this.aborted(SENSE.INVALID_FIELD_IN_COPY_DESCRIPTOR, { inCdb: false, byte: cscd.at + 29 });
    return { by, unit, visit, lba, lbaAt };
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

  /** A unit may be gone for good. */
  private isThere(unit: DiskUnit): boolean {
    return unit === this.own || [...this.own.others()].includes(unit);
  }
}

function isZero(data: Buffer): boolean {
  return data[0] === 0 && data.subarray(1).equals(data.subarray(0, -1));
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
    const look = source.visit.provisioning(from + at, left);
    const most = Math.min(look.lengthBytes, left, look.mapped ? PIECE_BYTES_MAX : CLEAR_PIECE_BYTES_MAX);
    const whole = most - (most % grainBytes);
    assert(most > 0, 'a device that says nothing of its holes');
    const stretch = { at, lengthBytes: Math.max(whole, grainBytes), isHole: !look.mapped && whole > 0 };
    yield stretch;
    at += stretch.lengthBytes;
  }
}
