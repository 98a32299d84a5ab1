/**
 * What the target sends on a fuzzed connection. However spoilt the requests are, the answers have to be whole: framed,
 * with right digests, within the length that we take, and their StatSN in a row (RFC 7143 4.2.2.2).
 */
import { assert } from '../../base/assert.js';
import { describeError } from '../../base/errors.js';
import { serialAdd, serialLess } from '../../base/serial.js';
import type { ConnectionSink } from '../../iscsi/initiator/connection.js';
import { bhsField, initiatorTaskTagOf, opcodeOf } from '../../iscsi/wire/bhs.js';
import { decodeDataIn } from '../../iscsi/wire/data-in.js';
import { describePdu } from '../../iscsi/wire/describe.js';
import { decodeLoginResponse } from '../../iscsi/wire/login.js';
import { LoginStage, LoginStatus, Opcode, RESERVED_TAG } from '../../iscsi/wire/opcodes.js';
import { decodeR2t } from '../../iscsi/wire/r2t.js';
import { DISCOVERY, parseText, TextAssembler, type TextPair } from '../../iscsi/wire/text-keys.js';
import type { R2tOf } from './draft.js';

const FROM_TARGET: ReadonlySet<number> = new Set([
  ...[Opcode.NOP_IN, Opcode.SCSI_RESPONSE, Opcode.TASK_MANAGEMENT_RESPONSE, Opcode.LOGIN_RESPONSE],
  ...[Opcode.TEXT_RESPONSE, Opcode.DATA_IN, Opcode.LOGOUT_RESPONSE, Opcode.R2T, Opcode.ASYNC_MESSAGE],
  Opcode.REJECT,
]);

/** Digests from now on, as a login of the plan's own has negotiated them. */
export type DigestsAgreed = (header: boolean, data: boolean) => void;

export class Answers implements ConnectionSink {
  count = 0;
  isClosed = false;
  maxCmdSN: number;
  /** What a login has been told so far. */
  readonly declared: TextPair[] = [];
  readonly faults: string[] = [];
  private expStatSN: number | null = null;
  private readonly tags = new Map<number, number[]>();
  private readonly ended = new Set<number>();
  private readonly text = new TextAssembler(DISCOVERY);
  private wake: (() => void) | null = null;
  private onClosed: (() => void) | null = null;

  /** @param maxDataBytes what we said that we take */
  constructor(
    firstMaxCmdSN: number,
    private readonly maxDataBytes: number,
    private readonly agreed: DigestsAgreed,
  ) {
    this.maxCmdSN = firstMaxCmdSN;
  }

  /** Of this R2T; undefined while it has not come; null: nor will it, its command is over. */
  tagOf({ initiatorTaskTag, r2tSN }: R2tOf): number | undefined | null {
    const tag = this.tags.get(initiatorTaskTag)?.[r2tSN];
    if (tag !== undefined) return tag;
    return this.ended.has(initiatorTaskTag) || this.isClosed ? null : undefined;
  }

  giveUp(initiatorTaskTag: number): void {
    this.ended.add(initiatorTaskTag);
  }

  /** Resolves at the next answer, at the end, or after `waitMs`: whether it was one of the first two. */
  next(waitMs: number): Promise<boolean> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => over(false), waitMs);
      const over = (came: boolean): void => {
        clearTimeout(timer);
        this.wake = null;
        resolve(came);
      };
      this.wake = () => over(true);
      if (this.isClosed) this.wake();
    });
  }

  /** Resolves when the connection is gone. */
  end(): Promise<void> {
    return new Promise((resolve) => {
      if (this.isClosed) resolve();
      else this.onClosed = resolve;
    });
  }

  header(bhs: Buffer, lengthBytes: number): Buffer {
    const opcode = opcodeOf(bhs);
    if (!FROM_TARGET.has(opcode)) this.faults.push(`no target sends this: ${describePdu(bhs)}`);
    const isLogin = opcode === Opcode.LOGIN_RESPONSE;
    if (!isLogin && lengthBytes > this.maxDataBytes)
      this.faults.push(`more data than the ${this.maxDataBytes} bytes we take: ${describePdu(bhs)}`);
    return Buffer.allocUnsafe(lengthBytes);
  }

  payload(bhs: Buffer, data: Buffer, digestOk: boolean): void {
    this.count += 1;
    if (!digestOk) this.faults.push(`a wrong data digest: ${describePdu(bhs)}`);
    const opcode = opcodeOf(bhs);
    if (opcode === Opcode.LOGIN_RESPONSE) this.loginResponse(bhs, data);
    else this.fullFeature(opcode, bhs);
    this.wake?.();
  }

  framingError(reason: string): void {
    this.faults.push(`answers that cannot be framed: ${reason}`);
    this.closed();
  }

  closed(): void {
    this.isClosed = true;
    this.wake?.();
    this.onClosed?.();
  }

  private loginResponse(bhs: Buffer, data: Buffer): void {
    const { status, transit, nsg, statSN, maxCmdSN, continues } = decodeLoginResponse(bhs);
    this.expStatSN = serialAdd(statSN, 1);
    this.maxCmdSN = maxCmdSN;
    this.read(data, continues);
    if (status !== LoginStatus.SUCCESS || !transit || nsg !== LoginStage.FULL_FEATURE) return;
    const isOn = (key: string): boolean =>
      this.declared.some((pair) => pair.key === key && pair.value === 'CRC32C');
    this.agreed(isOn('HeaderDigest'), isOn('DataDigest'));
  }

  /** As long as a text with the most keys has answers, and some of the target's own. */
  private read(data: Buffer, continues: boolean): void {
    try {
      this.text.add(data);
      if (!continues) this.declared.push(...parseText(this.text.take(), 'allow', DISCOVERY));
    } catch (error) {
      this.faults.push(`a login was answered by ${describeError(error)}`);
    }
  }

  private fullFeature(opcode: number, bhs: Buffer): void {
    const tag = initiatorTaskTagOf(bhs);
    if (opcode === Opcode.R2T) {
      const { targetTransferTag, r2tSN } = decodeR2t(bhs);
      const known = this.tags.get(tag) ?? [];
      // A tag of ours may come again when its task is over: numbers then begin anew.
      known[r2tSN] = targetTransferTag;
      this.tags.set(tag, known);
    } else if (takesStatSN(opcode, bhs, tag)) {
      this.checkStatSN(bhs);
      if (opcode === Opcode.SCSI_RESPONSE || opcode === Opcode.DATA_IN) this.ended.add(tag);
    }
    const isNumbered = opcode !== Opcode.DATA_IN || decodeDataIn(bhs).hasStatus;
    const maxCmdSN = bhs.readUInt32BE(bhsField.maxCmdSN);
    if (isNumbered && serialLess(this.maxCmdSN, maxCmdSN)) this.maxCmdSN = maxCmdSN;
  }

  private checkStatSN(bhs: Buffer): void {
    const statSN = bhs.readUInt32BE(bhsField.statSN);
    if (this.expStatSN !== null && statSN !== this.expStatSN)
      this.faults.push(`StatSN ${statSN} where ${this.expStatSN} is due: ${describePdu(bhs)}`);
    this.expStatSN = serialAdd(statSN, 1);
  }

  /** Where a session was opened for the plan: the StatSN after its login's. */
  expect(statSN: number): void {
    assert(this.count === 0, 'answers came before the first was expected');
    this.expStatSN = statSN;
  }
}

/** Data-In without status, R2T and a NOP-In that starts an exchange take none (RFC 7143 11.7.4, 11.8.3, 11.19.2). */
function takesStatSN(opcode: number, bhs: Buffer, tag: number): boolean {
  if (opcode === Opcode.DATA_IN) return decodeDataIn(bhs).hasStatus;
  return opcode !== Opcode.R2T && !(opcode === Opcode.NOP_IN && tag === RESERVED_TAG);
}
