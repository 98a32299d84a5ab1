/**
 * Valid conversations of full feature phase, drawn from a seed: pings, commands with their data however the session
 * brings it, task management, texts, SNACK, and what puts the unit back in order. What is wrong with them is the
 * mutator's.
 */
import { BHS_BYTES, bhsField, FINAL_BIT, IMMEDIATE_BIT, writeLengths } from '../../iscsi/wire/bhs.js';
import { dataOutField } from '../../iscsi/wire/data-out.js';
import { Opcode, RESERVED_TAG, TaskManagementFunction } from '../../iscsi/wire/opcodes.js';
import { COMMAND_READ_BIT, COMMAND_WRITE_BIT, scsiCommandField } from '../../iscsi/wire/scsi.js';
import { taskManagementField } from '../../iscsi/wire/task-management.js';
import { CONTINUE_BIT } from '../../iscsi/wire/text.js';
import { formatText } from '../../iscsi/wire/text-keys.js';
import { NO_BYTES } from '../../base/bytes.js';
import type { Chance } from '../../base/chance.js';
import { targetIqn } from '../../base/iscsi-names.js';
import { serialAdd } from '../../base/serial.js';
import { drawCommand, drawWrite, type DrawnCommand } from './cdbs.js';
import { draft, type Draft, type DigestChoice } from './draft.js';

/** What a session is like: offered at its login, and kept to by its conversations. */
export interface Terms extends DigestChoice {
  readonly isDiscovery: boolean;
  readonly immediateData: boolean;
  readonly initialR2T: boolean;
  readonly firstBurstLength: number;
  readonly maxBurstLength: number;
  readonly maxRecvDataSegmentLength: number;
  /** Of the unit that is spoken to. */
  readonly blockBytes: number;
}

const KEY = 7;

type Topic = (talk: Talk) => Draft[];

/** So often each. A discovery session has the first two only. */
const TOPICS: readonly (readonly [number, Topic])[] = [
  [10, (talk) => talk.ping()],
  [10, (talk) => talk.texts()],
  [60, (talk) => talk.command(drawCommand(talk.chance, talk.terms.blockBytes))],
  [
    14,
    (talk) =>
      talk.command(
        drawWrite(talk.chance, talk.terms.blockBytes, talk.chance.pick([4096, 8192, 8192, 32768])),
      ),
  ],
  [5, (talk) => talk.aborted()],
  [3, (talk) => talk.management(RESERVED_TAG)],
  [1, (talk) => talk.snack()],
  [2, (talk) => talk.restore()],
];
const DISCOVERY_TOPICS = TOPICS.slice(0, 2);

export class Talk {
  private cmdSN: number;
  private lastTag = 0;

  /** @param firstCmdSN the CmdSN of the login */
  constructor(
    readonly chance: Chance,
    readonly terms: Terms,
    firstCmdSN: number,
  ) {
    this.cmdSN = firstCmdSN;
  }

  /** The next exchange: one request and what belongs to it. */
  next(): Draft[] {
    const topics = this.terms.isDiscovery ? DISCOVERY_TOPICS : TOPICS;
    const sum = topics.reduce((total, [weight]) => total + weight, 0);
    let drawn = this.chance.below(sum);
    for (const [weight, topic] of topics) {
      if (drawn < weight) return topic(this);
      drawn -= weight;
    }
    return this.ping();
  }

  ping(): Draft[] {
    const data = Buffer.alloc(this.chance.pick([0, 0, 1, 8, 63, 512]), 'ping');
    const isImmediate = this.chance.happens(0.3);
    return [this.nop(isImmediate ? null : this.takeCmdSN(), data)];
  }

  /** A NOP-Out for a number that may be missing: where it is not, it is outside of the window and ignored. */
  nop(cmdSN: number | null, data: Buffer = NO_BYTES): Draft {
    const header = this.request(Opcode.NOP_OUT, FINAL_BIT, cmdSN, data.length);
    header.writeUInt32BE(RESERVED_TAG, bhsField.targetTransferTag);
    return draft(header, data, cmdSN);
  }

  command({ cdb, dataOut, dataInBytes }: DrawnCommand): Draft[] {
    const { immediateData, initialR2T, firstBurstLength } = this.terms;
    const burst = Math.min(dataOut.length, firstBurstLength);
    const withCommand = immediateData ? this.chance.pick([burst, burst, Math.min(burst, 512), 0]) : 0;
    const final = initialR2T || withCommand === burst || this.chance.happens(0.3);
    const cmdSN = this.chance.happens(0.03) ? null : this.takeCmdSN();
    const direction = (dataInBytes > 0 ? COMMAND_READ_BIT : 0) | (dataOut.length > 0 ? COMMAND_WRITE_BIT : 0);
    const flags = (final ? FINAL_BIT : 0) | direction | this.chance.pick([1, 1, 0, 2, 3]);
    const header = this.request(Opcode.SCSI_COMMAND, flags, cmdSN, withCommand);
    const initiatorTaskTag = this.lastTag;
    header.writeUInt32BE(Math.max(dataOut.length, dataInBytes), scsiCommandField.expectedDataTransferLength);
    cdb.copy(header, scsiCommandField.cdb);
    const command = draft(header, dataOut.subarray(0, withCommand), cmdSN);
    const solicitedFrom = final ? withCommand : burst;
    const unsolicited = final ? [] : this.dataOuts(initiatorTaskTag, dataOut, withCommand, burst, -1);
    return [command, ...unsolicited, ...this.solicited(initiatorTaskTag, dataOut, solicitedFrom)];
  }

  private solicited(initiatorTaskTag: number, dataOut: Buffer, from: number): Draft[] {
    const { maxBurstLength } = this.terms;
    const pdus: Draft[] = [];
    for (let r2tSN = 0, at = from; at < dataOut.length; r2tSN++) {
      const end = Math.min(at + maxBurstLength, dataOut.length);
      pdus.push(...this.dataOuts(initiatorTaskTag, dataOut, at, end, r2tSN));
      at = end;
    }
    return pdus;
  }

  /** One sequence, cut into PDUs. @param r2tSN of the R2T that asks for it; −1: nobody did */
  private dataOuts(
    initiatorTaskTag: number,
    dataOut: Buffer,
    from: number,
    to: number,
    r2tSN: number,
  ): Draft[] {
    const pdus: Draft[] = [];
    const piece = this.chance.pick([to - from, 4096, 8192]);
    for (let at = from, dataSN = 0; at < to; dataSN++) {
      const data = dataOut.subarray(at, Math.min(at + piece, to));
      const flags = at + data.length === to ? FINAL_BIT : 0;
      const header = begin(Opcode.DATA_OUT, flags, data.length, initiatorTaskTag);
      header.writeUInt32BE(r2tSN === -1 ? RESERVED_TAG : 0, dataOutField.targetTransferTag);
      header.writeUInt32BE(dataSN, dataOutField.dataSN);
      header.writeUInt32BE(at, dataOutField.bufferOffset);
      pdus.push(draft(header, data, null, r2tSN === -1 ? null : { initiatorTaskTag, r2tSN }));
      at += data.length;
    }
    return pdus;
  }

  /** A command that is aborted before all of its data has come, or after. */
  aborted(): Draft[] {
    const command = this.command(drawWrite(this.chance, this.terms.blockBytes, 8 * 1024));
    const tag = this.lastTag;
    const sent = command.slice(0, this.chance.within(1, command.length));
    return [...sent, ...this.management(tag)];
  }

  management(referencedTaskTag: number): Draft[] {
    const { ABORT_TASK, ABORT_TASK_SET, CLEAR_TASK_SET, LOGICAL_UNIT_RESET } = TaskManagementFunction;
    const { TARGET_WARM_RESET, TASK_REASSIGN, CLEAR_ACA } = TaskManagementFunction;
    const sets = [
      ABORT_TASK_SET,
      CLEAR_TASK_SET,
      LOGICAL_UNIT_RESET,
      TARGET_WARM_RESET,
      TASK_REASSIGN,
      CLEAR_ACA,
    ];
    const isAbort = referencedTaskTag !== RESERVED_TAG && this.chance.happens(0.8);
    return [this.manage(isAbort ? ABORT_TASK : this.chance.pick(sets), referencedTaskTag)];
  }

  private manage(asked: number, referencedTaskTag: number): Draft {
    const cmdSN = this.chance.happens(0.8) ? null : this.takeCmdSN();
    const header = this.request(Opcode.TASK_MANAGEMENT_REQUEST, FINAL_BIT | asked, cmdSN, 0);
    header.writeUInt32BE(referencedTaskTag, taskManagementField.referencedTaskTag);
    header.writeUInt32BE(serialAdd(this.cmdSN, -this.chance.below(3)), taskManagementField.refCmdSN);
    return draft(header, NO_BYTES, cmdSN);
  }

  texts(): Draft[] {
    const isLong = this.chance.happens(0.2);
    const pairs = this.chance.pick([
      [{ key: 'SendTargets', value: this.chance.pick(['All', '', targetIqn('fuzz.img')]) }],
      [{ key: 'MaxRecvDataSegmentLength', value: String(this.terms.maxRecvDataSegmentLength) }],
      [{ key: 'X-org.blockferry.fuzz', value: 'here' }],
    ]);
    const text = formatText(pairs);
    const cut = isLong ? this.chance.within(1, text.length - 1) : text.length;
    const initiatorTaskTag = this.lastTag + 1;
    // The tag of an exchange that goes on is the target's; the first one of a session is 1.
    const first = this.text(initiatorTaskTag, text.subarray(0, cut), isLong, RESERVED_TAG);
    return isLong
      ? [first, this.text(initiatorTaskTag, text.subarray(cut), false, this.chance.within(1, 4))]
      : [first];
  }

  private text(initiatorTaskTag: number, data: Buffer, continues: boolean, targetTransferTag: number): Draft {
    const cmdSN = this.chance.happens(0.5) ? null : this.takeCmdSN();
    const header = this.request(
      Opcode.TEXT_REQUEST,
      continues ? CONTINUE_BIT : FINAL_BIT,
      cmdSN,
      data.length,
    );
    header.writeUInt32BE(initiatorTaskTag, bhsField.initiatorTaskTag);
    header.writeUInt32BE(targetTransferTag, bhsField.targetTransferTag);
    return draft(header, Buffer.from(data), cmdSN);
  }

  /** SNACK (RFC 7143 11.16): type, then the tags and the run that is missing. */
  snack(): Draft[] {
    const header = begin(Opcode.SNACK_REQUEST, FINAL_BIT | this.chance.below(4), 0, this.lastTag);
    header.writeUInt32BE(RESERVED_TAG, bhsField.targetTransferTag);
    header.writeUInt32BE(this.chance.below(4), 40);
    header.writeUInt32BE(this.chance.below(4), 44);
    return [draft(header, NO_BYTES)];
  }

  /** The unit as it was at the start: reset, unreserved, its medium in, nothing protected. */
  restore(): Draft[] {
    const cdb = (...bytes: number[]): Buffer => Buffer.concat([Buffer.from(bytes)], 16);
    const key = Buffer.alloc(24);
    key[15] = KEY;
    const clear = Buffer.alloc(24);
    clear[7] = KEY;
    const modes = Buffer.from([0, 0, 0, 0, 0x0a, 0x0a, 0, 0x10, 0, 0x40, 0, 0, 0, 0, 0, 0]);
    const without = { dataOut: NO_BYTES, dataInBytes: 0 };
    const commands: DrawnCommand[] = [
      { cdb: cdb(0x00), ...without },
      { cdb: cdb(0x00), ...without },
      { cdb: cdb(0x5f, 0x06, 0, 0, 0, 0, 0, 0, 24), dataOut: key, dataInBytes: 0 },
      { cdb: cdb(0x5f, 0x03, 0, 0, 0, 0, 0, 0, 24), dataOut: clear, dataInBytes: 0 },
      { cdb: cdb(0x1b, 0, 0, 0, 0x03), ...without },
      { cdb: cdb(0x15, 0x10, 0, 0, modes.length), dataOut: modes, dataInBytes: 0 },
      { cdb: cdb(0x00), ...without },
    ];
    const reset = this.manage(TaskManagementFunction.LOGICAL_UNIT_RESET, RESERVED_TAG);
    return [reset, ...commands.flatMap((command) => this.command(command))];
  }

  /** @param cmdSN null: an immediate request, which takes none and carries the next one */
  private request(opcode: number, flags: number, cmdSN: number | null, lengthBytes: number): Buffer {
    this.lastTag += 1;
    const header = begin(opcode | (cmdSN === null ? IMMEDIATE_BIT : 0), flags, lengthBytes, this.lastTag);
    header.writeUInt32BE(cmdSN ?? this.cmdSN, bhsField.cmdSN);
    return header;
  }

  private takeCmdSN(): number {
    const { cmdSN } = this;
    this.cmdSN = serialAdd(cmdSN, 1);
    return cmdSN;
  }
}

/** By hand: the encoders take objects, which cost ten times as much as all the rest. */
function begin(byte0: number, flags: number, lengthBytes: number, initiatorTaskTag: number): Buffer {
  const header = Buffer.allocUnsafe(BHS_BYTES).fill(0);
  header[0] = byte0;
  header[1] = flags;
  writeLengths(header, 0, 0, lengthBytes);
  header.writeUInt32BE(initiatorTaskTag, bhsField.initiatorTaskTag);
  return header;
}
