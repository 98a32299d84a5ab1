/** SendTargets (RFC 7143 Appendix C): which targets does a portal know, and where are they? */
import { NO_BYTES } from '../../base/bytes.js';
import { BlockferryError } from '../../base/errors.js';
import { BHS_BYTES, opcodeOf } from '../wire/bhs.js';
import { describePdu } from '../wire/describe.js';
import { encodeLogoutRequest } from '../wire/logout.js';
import { LogoutReason, Opcode, RESERVED_TAG } from '../wire/opcodes.js';
import { DISCOVERY, TextAssembler, formatText, parseText } from '../wire/text-keys.js';
import { decodeTextResponse, encodeTextRequest } from '../wire/text.js';
import { logIn, type LoggedIn } from './login.js';
import { settle, type InitiatorOptions, type Settings } from './options.js';
import { parseTargetAddress, type PortalAddress, type TargetAddress } from './url.js';

export interface DiscoveredTarget {
  readonly iqn: string;
  readonly addresses: readonly TargetAddress[];
}

/** Asks one portal for all of its targets. Rejects with UNAVAILABLE or PROTOCOL. */
export async function discover(
  portal: PortalAddress,
  options: InitiatorOptions = {},
): Promise<DiscoveredTarget[]> {
  const settings = settle(options);
  const login = await logIn(portal, null, settings);
  try {
    const text = await sendTargets(login, settings);
    await logOut(login, settings);
    return parseTargets(text);
  } finally {
    login.connection.close('discovery is over');
  }
}

async function sendTargets(login: LoggedIn, settings: Settings): Promise<Buffer> {
  const { connection } = login;
  const bhs = Buffer.alloc(BHS_BYTES);
  const text = new TextAssembler(DISCOVERY);
  let question = formatText([{ key: 'SendTargets', value: 'All' }]);
  let targetTransferTag = RESERVED_TAG;
  let { expStatSN } = login;
  for (;;) {
    encodeTextRequest(
      {
        immediate: true,
        final: true,
        continues: false,
        totalAHSLength: 0,
        dataSegmentLength: question.length,
        lunHigh: 0,
        lunLow: 0,
        initiatorTaskTag: 1,
        targetTransferTag,
        cmdSN: login.cmdSN,
        expStatSN,
      },
      bhs,
    );
    connection.send(bhs, question);
    const answer = await connection.receive(settings.loginDeadlineMs);
    if (opcodeOf(answer.bhs) !== Opcode.TEXT_RESPONSE || !answer.digestOk) {
      throw new BlockferryError('PROTOCOL', `SendTargets was answered by ${describePdu(answer.bhs)}`);
    }
    const response = decodeTextResponse(answer.bhs);
    expStatSN = (response.statSN + 1) >>> 0;
    text.add(answer.data);
    if (response.final && response.targetTransferTag === RESERVED_TAG) return text.take();
    // 11.10.4: an empty request with the target's tag asks for the rest.
    targetTransferTag = response.targetTransferTag;
    question = NO_BYTES;
  }
}

async function logOut(login: LoggedIn, settings: Settings): Promise<void> {
  const bhs = Buffer.alloc(BHS_BYTES);
  const lengths = { totalAHSLength: 0, dataSegmentLength: 0 };
  const sequence = { cmdSN: login.cmdSN, expStatSN: login.expStatSN };
  const reason = LogoutReason.CLOSE_SESSION;
  encodeLogoutRequest({ immediate: true, reason, initiatorTaskTag: 2, cid: 0, ...lengths, ...sequence }, bhs);
  login.connection.send(bhs);
  await login.connection.receive(settings.loginDeadlineMs);
}

function parseTargets(text: Buffer): DiscoveredTarget[] {
  const targets: { iqn: string; addresses: TargetAddress[] }[] = [];
  for (const { key, value } of parseText(text, 'allow', DISCOVERY)) {
    if (key === 'TargetName') targets.push({ iqn: value, addresses: [] });
    else if (key === 'TargetAddress') targets.at(-1)?.addresses.push(parseTargetAddress(value));
  }
  return targets;
}
