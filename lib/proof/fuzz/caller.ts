/**
 * Carries out one plan on one connection: opens it, logs in where the plan says how, sends what is planned in large
 * writes, and sees to the end. It waits only for what would make the rest pointless, never long, and never for good.
 */
import { describeError } from '../../base/errors.js';
import { initiatorIqn } from '../../base/iscsi-names.js';
import { RECV_DATA_SEGMENT_BYTES } from '../../base/limits.js';
import type { NetSocket } from '../../base/net.js';
import { SeededRandom } from '../../base/random.js';
import { serialLess } from '../../base/serial.js';
import type { ChapIdentity } from '../../iscsi/initiator/chap.js';
import { Connection } from '../../iscsi/initiator/connection.js';
import { logIn } from '../../iscsi/initiator/login.js';
import { dialTcp, settle, type Settings } from '../../iscsi/initiator/options.js';
import type { PortalAddress } from '../../iscsi/initiator/url.js';
import { BHS_BYTES, bhsField } from '../../iscsi/wire/bhs.js';
import { chapResponse, chooseAlgorithm, parseChapBinary, parseIdentifier } from '../../iscsi/wire/chap.js';
import { headerCrc32c, writeDigest } from '../../iscsi/wire/digests.js';
import { valueOf, type TextPair } from '../../iscsi/wire/text-keys.js';
import { within } from '../../bench/within.js';
import { Answers } from './answers.js';
import { PROOF_MARK } from './logins.js';
import type { Plan, PlannedPdu } from './plan.js';

/** From our end of a connection to the target's: longer, and it hangs. */
export const HANG_MS = 10_000;
/** For an answer without which the rest means less; most come within one. */
const PATIENCE_MS = 8;
/** So many answers in vain, and this connection waits for none any more. */
const VAIN_MAX = 3;
const MAX_RECV_KEY = 'MaxRecvDataSegmentLength';
/** Of a connection, which lives for a few hundred PDUs: the garbage of larger ones costs more than all PDUs. */
const BUFFER_BYTES = 32 * 1024;
/** In one write. */
const WRITE_BYTES = 32 * 1024;

export interface CalledAt {
  readonly portal: PortalAddress;
  readonly iqn: string;
  readonly chap: ChapIdentity | null;
  /** Its own place among those at work: what tells its sessions from the others'. */
  readonly lane: number;
}

/** What came of a connection; it may not have ended yet. */
export interface Called {
  readonly sentPdus: number;
  readonly sentMutated: number;
  readonly answers: Answers;
  /** Resolves when it has: with what was wrong. */
  readonly ended: Promise<string[]>;
}

export async function carryOut(plan: Plan, at: CalledAt): Promise<Called> {
  const caller = new Caller(plan, at);
  try {
    await caller.open();
    await caller.sendAll();
  } catch (error) {
    caller.answers.faults.push(describeError(error));
  }
  return {
    sentPdus: caller.sentPdus,
    sentMutated: caller.sentMutated,
    answers: caller.answers,
    ended: caller.end(),
  };
}

class Caller {
  answers: Answers;
  sentPdus = 0;
  sentMutated = 0;
  private socket!: NetSocket;
  private connection: Connection | null = null;
  private vain = 0;
  private waiting: Buffer[] = [];
  private waitingBytes = 0;

  constructor(
    private readonly plan: Plan,
    private readonly at: CalledAt,
  ) {
    // A text of full feature phase may declare another one (RFC 7143 13.12).
    const declares = plan.terms === null || plan.pdus.some(({ bytes }) => bytes.includes(MAX_RECV_KEY));
    const maxBytes = declares ? RECV_DATA_SEGMENT_BYTES : plan.terms.maxRecvDataSegmentLength;
    this.answers = new Answers(0, maxBytes, (header, data) => this.connection?.setDigests(header, data));
  }

  async open(): Promise<void> {
    const { portal, iqn } = this.at;
    const { terms } = this.plan;
    const settings = this.settings();
    if (terms === null) {
      this.connection = await Connection.open(portal, settings, HANG_MS);
    } else {
      const login = await logIn(portal, terms.isDiscovery ? null : iqn, settings);
      this.connection = login.connection;
      this.answers.maxCmdSN = login.maxCmdSN;
      this.answers.expect(login.expStatSN);
    }
    this.connection.attach(this.answers);
  }

  private settings(): Settings {
    const { lane, chap } = this.at;
    const { terms } = this.plan;
    const digest = (isOn: boolean): ['CRC32C'] | ['None'] => (isOn ? ['CRC32C'] : ['None']);
    return settle({
      initiatorName: initiatorIqn(`fuzz-${lane}`),
      loginDeadlineMs: HANG_MS,
      // The same nexus each time, so that what it registers does not pile up.
      random: new SeededRandom(lane),
      chap,
      ...{ readBufferBytes: BUFFER_BYTES, sendBufferBytes: BUFFER_BYTES },
      dial: (address, reader) => (this.socket = dialTcp(address, reader)),
      offer:
        terms === null
          ? {}
          : {
              headerDigest: digest(terms.headerDigest),
              dataDigest: digest(terms.dataDigest),
              immediateData: terms.immediateData,
              initialR2T: terms.initialR2T,
              firstBurstLength: Math.min(terms.firstBurstLength, terms.maxBurstLength),
              maxBurstLength: terms.maxBurstLength,
              maxRecvDataSegmentLength: terms.maxRecvDataSegmentLength,
            },
    });
  }

  async sendAll(): Promise<void> {
    for (const pdu of this.plan.pdus) {
      if (this.answers.isClosed) return;
      if (pdu.waits) await this.waitFor(() => false, 1);
      if (pdu.cmdSN !== null && this.isBeyondWindow(pdu.cmdSN)) {
        const { cmdSN } = pdu;
        await this.waitFor(() => !this.isBeyondWindow(cmdSN));
      }
      // Nothing of most has to be waited for, and a promise for each would be half of the work.
      this.waiting.push(pdu.r2t === null && !pdu.waits ? pdu.bytes : await this.filled(pdu));
      this.waitingBytes += pdu.bytes.length;
      this.sentPdus += 1;
      if (pdu.isMutated) this.sentMutated += 1;
      if (this.waitingBytes >= WRITE_BYTES) await this.flush();
    }
    await this.flush();
  }

  private isBeyondWindow(cmdSN: number): boolean {
    return this.plan.terms !== null && serialLess(this.answers.maxCmdSN, cmdSN);
  }

  /** Waits until `isThere`, or so many answers have come; gives up soon. */
  private async waitFor(isThere: () => boolean, answersMax = Infinity): Promise<void> {
    await this.flush();
    for (let seen = 0; seen < answersMax && !isThere() && !this.answers.isClosed; seen++) {
      if (this.vain >= VAIN_MAX) return;
      if (await this.answers.next(PATIENCE_MS)) continue;
      this.vain += 1;
      return;
    }
  }

  /** With what only the target could tell: the tag of an R2T, the answer to a challenge. */
  private async filled(pdu: PlannedPdu): Promise<Buffer> {
    const { bytes, r2t } = pdu;
    if (this.plan.terms === null) return bytes.includes(PROOF_MARK) ? this.withProof(bytes) : bytes;
    if (r2t === null) return bytes;
    await this.waitFor(() => this.answers.tagOf(r2t) !== undefined);
    const tag = this.answers.tagOf(r2t);
    if (tag === undefined) this.answers.giveUp(r2t.initiatorTaskTag);
    return tag === undefined || tag === null ? bytes : withTag(bytes, tag, this.plan.terms.headerDigest);
  }

  private withProof(bytes: Buffer): Buffer {
    const proof = this.at.chap === null ? null : proofOf(this.at.chap.secret, this.answers.declared);
    if (proof === null) return bytes;
    const filled = Buffer.from(bytes);
    filled.write(proof, filled.indexOf(PROOF_MARK));
    return filled;
  }

  private async flush(): Promise<void> {
    if (this.waiting.length === 0) return;
    const bytes = Buffer.concat(this.waiting, undefined);
    this.waiting = [];
    this.waitingBytes = 0;
    if (this.answers.isClosed) return;
    const isTaken = new Promise<void>((resolve) => this.socket.write(bytes, () => resolve()));
    if (this.socket.writableLength === 0) return;
    await inTime(Promise.race([isTaken, this.answers.end()]), 'nothing is read any more');
  }

  /** Our end, then the target's. */
  async end(): Promise<string[]> {
    const { connection, answers } = this;
    if (connection === null) return answers.faults;
    try {
      if (!answers.isClosed) this.socket.end();
      await inTime(answers.end(), 'the target does not see the end of a connection');
    } catch (error) {
      answers.faults.push(describeError(error));
    }
    connection.close('done');
    return answers.faults;
  }
}

function inTime(what: Promise<void>, fault: string): Promise<void> {
  return within(what, HANG_MS, `${fault} (${HANG_MS} ms)`);
}

/** A copy with the tag, and a header digest that fits it where one that fits was there. */
function withTag(bytes: Buffer, tag: number, hasHeaderDigest: boolean): Buffer {
  const filled = Buffer.from(bytes);
  const end = BHS_BYTES + 4 * filled.readUInt8(bhsField.totalAHSLength);
  if (filled.length < end) return bytes;
  filled.writeUInt32BE(tag, bhsField.targetTransferTag);
  if (hasHeaderDigest && filled.length >= end + 4) writeDigest(filled, end, headerCrc32c(filled, 0, end));
  return filled;
}

function proofOf(secret: string, declared: readonly TextPair[]): string | null {
  const algorithm = chooseAlgorithm(valueOf(declared, 'CHAP_A') ?? '');
  const identifier = parseIdentifier(valueOf(declared, 'CHAP_I') ?? '');
  const challenge = parseChapBinary(valueOf(declared, 'CHAP_C') ?? '');
  if (algorithm === undefined || identifier === undefined || challenge === undefined) return null;
  return chapResponse(algorithm, identifier, secret, challenge)
    .toString('hex')
    .padEnd(PROOF_MARK.length, '0');
}
