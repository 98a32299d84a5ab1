/**
 * Text Request (RFC 7143 11.10): SendTargets, and the few keys that full feature phase knows. Long texts go on over
 * several PDUs with the C bit, either way.
 */
import { NO_BYTES } from '../../../base/bytes.js';
import { describeError } from '../../../base/errors.js';
import { negotiate, type NegotiationState } from '../../wire/negotiation.js';
import { LoginStage, RejectReason, RESERVED_TAG } from '../../wire/opcodes.js';
import { decodeTextRequest, encodeTextResponse, type TextRequestPdu } from '../../wire/text.js';
import { formatText, parseText, TextAssembler, type TextPair } from '../../wire/text-keys.js';
import type { PortalContext } from '../context.js';
import { answerSendTargets } from '../discovery.js';
import { TARGET_OFFER } from '../login/offer.js';
import { putReject } from '../reject.js';
import type { Session } from '../session.js';

export function text(session: Session, bhs: Buffer, data: Buffer, context: PortalContext): void {
  const pdu = decodeTextRequest(bhs);
  if (pdu.targetTransferTag === RESERVED_TAG) {
    // Without a tag an exchange begins; one that was under way is given up (11.10.4).
    session.text = {
      assembler: new TextAssembler(),
      targetTransferTag: session.takeTransferTag(),
      rest: NO_BYTES,
    };
  }
  const exchange = session.text;
  if (exchange === null || !belongsTo(exchange.targetTransferTag, pdu)) {
    return putReject(session, RejectReason.INVALID_PDU_FIELD, bhs);
  }
  if (exchange.rest.length > 0) return putNext(session, pdu);
  try {
    exchange.assembler.add(data);
    if (pdu.continues) return putTextResponse(session, pdu, NO_BYTES, false, exchange.targetTransferTag);
    const answers = answer(session, parseText(exchange.assembler.take()), context);
    exchange.rest = formatText(answers);
  } catch (error) {
    session.text = null;
    context.log.debug({ peer: session.link.peer, reason: describeError(error) }, 'text request refused');
    return putReject(session, RejectReason.PROTOCOL_ERROR, bhs);
  }
  putNext(session, pdu);
}

function belongsTo(targetTransferTag: number, pdu: TextRequestPdu): boolean {
  return pdu.targetTransferTag === RESERVED_TAG || pdu.targetTransferTag === targetTransferTag;
}

/** Sends as much of the answer as fits, and ends the exchange with the last of it. */
function putNext(session: Session, pdu: TextRequestPdu): void {
  const exchange = session.text;
  if (exchange === null) return;
  const room = session.parameters.peerMaxRecvDataSegmentLength;
  const part = exchange.rest.subarray(0, room);
  exchange.rest = exchange.rest.subarray(part.length);
  const more = exchange.rest.length > 0;
  if (more) return putTextResponse(session, pdu, part, true, exchange.targetTransferTag);
  // F only where the initiator is done too (11.11.1).
  if (pdu.final) session.text = null;
  putTextResponse(session, pdu, part, false, pdu.final ? RESERVED_TAG : exchange.targetTransferTag);
}

function answer(session: Session, pairs: readonly TextPair[], context: PortalContext): TextPair[] {
  const sendTargets = pairs.find((pair) => pair.key === 'SendTargets');
  const others = pairs.filter((pair) => pair.key !== 'SendTargets');
  const answers = others.length === 0 ? [] : negotiateAgain(session, others);
  if (sendTargets === undefined) return answers;
  const { localHost, localPort } = session.link;
  const entries = context.directory.list(localHost, localPort);
  const found = answerSendTargets(
    sendTargets.value,
    entries,
    session.target === null ? null : session.identity.iqn,
    localHost,
  );
  return [...answers, ...(found ?? [{ key: 'SendTargets', value: 'Reject' }])];
}

/** Keys that may be declared again in full feature phase: MaxRecvDataSegmentLength (13.12). */
function negotiateAgain(session: Session, pairs: readonly TextPair[]): TextPair[] {
  const { parameters } = session;
  const state: NegotiationState = { values: parameters, done: new Set(), declared: new Map() };
  const context = { stage: LoginStage.FULL_FEATURE, leading: false };
  const { answers, state: after, error } = negotiate(pairs, TARGET_OFFER, context, state);
  if (error === undefined)
    parameters.peerMaxRecvDataSegmentLength = after.values.peerMaxRecvDataSegmentLength;
  return error === undefined ? answers : pairs.map(({ key }) => ({ key, value: 'Reject' }));
}

function putTextResponse(
  session: Session,
  pdu: TextRequestPdu,
  data: Buffer,
  continues: boolean,
  targetTransferTag: number,
): void {
  session.writer.put(
    encodeTextResponse,
    {
      final: targetTransferTag === RESERVED_TAG,
      continues,
      totalAHSLength: 0,
      dataSegmentLength: data.length,
      lunHigh: 0,
      lunLow: 0,
      initiatorTaskTag: pdu.initiatorTaskTag,
      targetTransferTag,
      statSN: session.takeStatSN(),
      expCmdSN: session.window.expCmdSN,
      maxCmdSN: session.window.maxCmdSN,
    },
    data,
  );
}
