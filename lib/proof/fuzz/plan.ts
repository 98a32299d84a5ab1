/**
 * What one connection says, from a seed and its number alone: the same at every run, whatever the target answers. A plan
 * is kept in a file when something went wrong, and can be read from there (PLAN_FORMAT).
 */
import { z } from 'zod';
import { describePdu } from '../../iscsi/wire/describe.js';
import { BHS_BYTES } from '../../iscsi/wire/bhs.js';
import { Chance } from '../../base/chance.js';
import { dataCrc32c } from '../../base/crc32c.js';
import { lay, type Draft, type R2tOf } from './draft.js';
import { continued, drawLogin, LOGIN_CMD_SN, PROOF_MARK } from './logins.js';
import { breakFraming, Mutator } from './mutator.js';
import { Talk, type Terms } from './talk.js';

/** Whom it is for: what its unit and its logins have to be like. */
export interface PlanFor {
  readonly iqn: string;
  readonly blockBytes: number;
  readonly hasChap: boolean;
  readonly chapName: string;
}

export interface PlannedPdu {
  readonly bytes: Buffer;
  readonly isMutated: boolean;
  /** CmdSN, where it takes one: the sender waits until the window is as far. */
  readonly cmdSN: number | null;
  /** The tag of this R2T is to be written into it, once it is known. */
  readonly r2t: R2tOf | null;
  /** Sent when the PDU before it has been answered: a proof needs its challenge. */
  readonly waits: boolean;
}

export interface Plan {
  readonly number: number;
  /** Which of the targets, by its name. */
  readonly target: string;
  /** A session like this is opened for it; null: it begins with a login of its own. */
  readonly terms: Terms | null;
  readonly pdus: readonly PlannedPdu[];
}

/** Connections that are all about the login; they are short, and the others long: a connection costs as much as 100 PDUs. */
const LOGIN_SHARE = 0.7;
const SESSION_PDUS = 800;
const LOGIN_TAIL_PDUS = 4;
/** Of the PDUs of an exchange. */
const MUTATED_SHARE = 0.5;
/** A number that a spoilt PDU did not take is taken by a NOP-Out so often: otherwise all that follows would wait for it.
 *  A session loses some two hundred. */
const HEAL_SHARE = 0.97;
const NO_DIGESTS = { headerDigest: false, dataDigest: false };

export function planConnection(seed: number, number: number, target: string, planFor: PlanFor): Plan {
  const chance = new Chance(Math.imul(seed, 0x9e3779b1) ^ Math.imul(number + 1, 0x85ebca6b));
  return chance.happens(LOGIN_SHARE)
    ? planLogin(chance, number, target, planFor)
    : planSession(chance, number, target, planFor);
}

function planSession(chance: Chance, number: number, target: string, { blockBytes }: PlanFor): Plan {
  const terms: Terms = {
    headerDigest: chance.happens(0.5),
    dataDigest: chance.happens(0.5),
    isDiscovery: chance.happens(0.05),
    immediateData: chance.happens(0.7),
    initialR2T: chance.happens(0.5),
    firstBurstLength: chance.pick([512, 4096, 65536]),
    maxBurstLength: chance.pick([4096, 16384, 262144]),
    maxRecvDataSegmentLength: chance.pick([512, 8192, 262144]),
    blockBytes,
  };
  const talk = new Talk(chance, terms, LOGIN_CMD_SN);
  const mutator = new Mutator(chance, MUTATED_SHARE);
  const pdus: PlannedPdu[] = [];
  const add = (pdu: Draft): void => void pdus.push(planned(pdu, lay(pdu, terms)));
  if (!terms.isDiscovery && chance.happens(0.6)) talk.restore().forEach(add);
  while (pdus.length < SESSION_PDUS) {
    const exchange = talk.next();
    const spoilt = mutator.spoil(exchange);
    spoilt.forEach(add);
    for (const { cmdSN } of lostOf(exchange, spoilt)) if (chance.happens(HEAL_SHARE)) add(talk.nop(cmdSN));
  }
  for (let n = chance.pick([0, 1, 4, 12]); n > 0; n--) {
    const [pdu] = talk.next();
    if (pdu !== undefined) pdus.push(broken(chance, lay(pdu, terms), terms.headerDigest));
  }
  return { number, target, terms, pdus };
}

/** Numbered PDUs of an exchange that are not there as they were. */
function lostOf(exchange: readonly Draft[], spoilt: readonly Draft[]): Draft[] {
  return exchange.filter((pdu) => pdu.cmdSN !== null && !spoilt.includes(pdu));
}

function planLogin(chance: Chance, number: number, target: string, planFor: PlanFor): Plan {
  const mutator = new Mutator(chance, MUTATED_SHARE);
  const requests = drawLogin(chance, planFor).flatMap((request) =>
    chance.happens(0.1) && request.data.length > 1
      ? continued(request, chance.within(1, request.data.length - 1))
      : [request],
  );
  const talk = new Talk(chance, { ...PLAIN_TERMS, blockBytes: planFor.blockBytes }, LOGIN_CMD_SN);
  const isPatient = chance.happens(0.3);
  const pdus = mutator.spoil(requests).map((pdu, index) => {
    const bytes = lay(pdu, NO_DIGESTS);
    return { ...planned(pdu, bytes), waits: index > 0 && (isPatient || bytes.includes(PROOF_MARK)) };
  });
  for (let n = 0; n < LOGIN_TAIL_PDUS; n++) {
    for (const pdu of mutator.spoil(talk.next())) pdus.push(planned(pdu, lay(pdu, NO_DIGESTS)));
  }
  if (chance.happens(0.1)) {
    const at = chance.below(pdus.length);
    pdus[at] = broken(chance, (pdus[at] as PlannedPdu).bytes, false);
  }
  return { number, target, terms: null, pdus };
}

/** As DEFAULT_OFFER has them, near enough. */
export const PLAIN_TERMS: Terms = {
  ...NO_DIGESTS,
  isDiscovery: false,
  ...{ immediateData: true, initialR2T: false, firstBurstLength: 65536, maxBurstLength: 65536 },
  maxRecvDataSegmentLength: 262144,
  blockBytes: 512,
};

function planned({ isMutated, cmdSN, r2t }: Draft, bytes: Buffer): PlannedPdu {
  return { bytes, isMutated, cmdSN, r2t, waits: false };
}

function broken(chance: Chance, bytes: Buffer, hasHeaderDigest: boolean): PlannedPdu {
  const wrong = breakFraming(bytes, chance, hasHeaderDigest);
  return { bytes: wrong, isMutated: true, cmdSN: null, r2t: null, waits: false };
}

/** Of all its bytes, and where they are cut. Sums of them do not depend on an order. */
export function hashOf(plan: Plan): number {
  let crc = plan.number;
  for (const { bytes } of plan.pdus)
    crc = dataCrc32c(bytes, (crc ^ Math.imul(bytes.length, 0x9e3779b1)) >>> 0);
  return crc;
}

const PLAN_FORMAT = z.object({
  number: z.int(),
  target: z.string(),
  terms: z
    .object({
      ...{ headerDigest: z.boolean(), dataDigest: z.boolean(), isDiscovery: z.boolean() },
      ...{ immediateData: z.boolean(), initialR2T: z.boolean(), firstBurstLength: z.int() },
      ...{ maxBurstLength: z.int(), maxRecvDataSegmentLength: z.int(), blockBytes: z.int() },
    })
    .nullable(),
  pdus: z.array(
    z.object({
      hex: z.string(),
      /** For people. */
      text: z.string().optional(),
      isMutated: z.boolean(),
      cmdSN: z.int().nullable(),
      r2t: z.object({ initiatorTaskTag: z.int(), r2tSN: z.int() }).nullable(),
      waits: z.boolean(),
    }),
  ),
});

export function planToJson(plan: Plan): z.input<typeof PLAN_FORMAT> {
  const pdus = plan.pdus.map(({ bytes, ...rest }) => {
    const text = bytes.length < BHS_BYTES ? 'the rest is cut off' : describePdu(bytes);
    return { text, hex: bytes.toString('hex'), ...rest };
  });
  return { ...plan, pdus };
}

/** @throws ZodError */
export function planFromJson(value: unknown): Plan {
  const { pdus, ...rest } = PLAN_FORMAT.parse(value);
  return {
    ...rest,
    pdus: pdus.map(({ hex, text: _, ...pdu }) => ({ ...pdu, bytes: Buffer.from(hex, 'hex') })),
  };
}
