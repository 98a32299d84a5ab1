/** Valid logins, drawn from a seed: straight or in stages, with or without CHAP, for a unit or for discovery. */
import type { Chance } from '../../base/chance.js';
import { initiatorIqn } from '../../base/iscsi-names.js';
import { BHS_BYTES, writeLengths } from '../../iscsi/wire/bhs.js';
import { encodeLoginRequest } from '../../iscsi/wire/login.js';
import { LoginStage } from '../../iscsi/wire/opcodes.js';
import { formatOffer } from '../../iscsi/wire/offer.js';
import { formatText, type TextPair } from '../../iscsi/wire/text-keys.js';
import { DEFAULT_OFFER } from '../../iscsi/initiator/options.js';
import { draft, type Draft } from './draft.js';

/** Stands where the answer to a challenge belongs, which is not known yet; as long as the strongest algorithm's. */
export const PROOF_MARK = 'feedface'.repeat(8);
export const LOGIN_CMD_SN = 1;

interface Step {
  readonly csg: number;
  readonly nsg: number;
  readonly isTransit: boolean;
  readonly pairs: readonly TextPair[];
}

export interface LoginOf {
  readonly iqn: string;
  readonly hasChap: boolean;
  /** Of the account; the secret is for whoever fills in the proof. */
  readonly chapName: string;
}

export function drawLogin(chance: Chance, { iqn, hasChap, chapName }: LoginOf): Draft[] {
  const isDiscovery = chance.happens(0.2);
  const names: TextPair[] = [
    { key: 'InitiatorName', value: initiatorIqn(`login-${chance.below(4)}`) },
    ...(isDiscovery ? [] : [{ key: 'TargetName', value: iqn }]),
    { key: 'SessionType', value: isDiscovery ? 'Discovery' : 'Normal' },
  ];
  const operational = formatOffer(DEFAULT_OFFER, isDiscovery ? 'Discovery' : 'Normal');
  const { SECURITY, OPERATIONAL, FULL_FEATURE } = LoginStage;
  const toOperational = { csg: SECURITY, nsg: OPERATIONAL };
  const last: Step = { csg: OPERATIONAL, nsg: FULL_FEATURE, isTransit: true, pairs: operational };
  const isid = `80${chance.below(0x1000000).toString(16).padStart(6, '0')}0000`;
  if (hasChap && chance.happens(0.9)) {
    const proof = [
      { key: 'CHAP_N', value: chapName },
      { key: 'CHAP_R', value: `0x${PROOF_MARK}` },
    ];
    const theirs = [
      { key: 'CHAP_I', value: String(chance.below(256)) },
      { key: 'CHAP_C', value: `0x${chance.uint32().toString(16).padStart(8, '0').repeat(4)}` },
    ];
    const method = { key: 'AuthMethod', value: chance.pick(['CHAP', 'CHAP,None', 'KRB5,CHAP']) };
    return requests(isid, [
      { ...toOperational, isTransit: false, pairs: [...names, method] },
      {
        ...toOperational,
        isTransit: false,
        pairs: [{ key: 'CHAP_A', value: chance.pick(['7', '8', '8,7', '9,7']) }],
      },
      { ...toOperational, isTransit: true, pairs: chance.happens(0.5) ? [...proof, ...theirs] : proof },
      last,
    ]);
  }
  if (chance.happens(0.4)) return requests(isid, [{ ...last, pairs: [...names, ...operational] }]);
  const method = [...names, { key: 'AuthMethod', value: chance.pick(['None', 'CHAP,None', 'KRB5,None']) }];
  if (chance.happens(0.3)) {
    return requests(isid, [{ csg: SECURITY, nsg: FULL_FEATURE, isTransit: true, pairs: method }]);
  }
  return requests(isid, [{ ...toOperational, isTransit: true, pairs: method }, last]);
}

function requests(isid: string, steps: readonly Step[]): Draft[] {
  return steps.map(({ csg, nsg, isTransit, pairs }) => {
    const header = Buffer.allocUnsafe(BHS_BYTES);
    const text = formatText(pairs);
    encodeLoginRequest(
      {
        ...{ transit: isTransit, continues: false, csg, nsg: isTransit ? nsg : 0 },
        ...{ versionMax: 0, versionMin: 0, isid, tsih: 0, totalAHSLength: 0, dataSegmentLength: text.length },
        ...{ initiatorTaskTag: 0, cid: 0, cmdSN: LOGIN_CMD_SN, expStatSN: 0 },
      },
      header,
    );
    return draft(header, text);
  });
}

/** The same request over two PDUs, by the C bit (RFC 7143 6.2). */
export function continued(request: Draft, at: number): Draft[] {
  const first = { ...request, header: Buffer.from(request.header), data: request.data.subarray(0, at) };
  first.header[1] = ((first.header[1] as number) & ~0x83) | 0x40;
  writeLengths(first.header, 0, 0, first.data.length);
  const rest = { ...request, header: Buffer.from(request.header), data: request.data.subarray(at) };
  writeLengths(rest.header, 0, 0, rest.data.length);
  return [first, rest];
}
