/**
 * The mode pages (SPC-4 7.5, SBC-3 6.5): their bytes, which fields of them can be changed, and how a list of pages that
 * an initiator sends becomes modes. It knows neither MODE SENSE nor MODE SELECT, which wrap such lists.
 */
import { uint16 } from '../base/bytes.js';
import { byteAt } from './cdb.js';
import { invalidParameterField, type Sense, SENSE } from './sense.js';
import { DEFAULT_MODES, type Modes } from './state.js';
import type { TargetPorts } from './target-ports.js';

/** A bit that can be changed: where it stands in the page after its header, and what it means. */
interface ModeField {
  readonly at: number;
  readonly mask: number;
  readonly mode: keyof Modes;
}

interface ModePage {
  readonly pageCode: number;
  readonly subpageCode: number;
  /** The bytes after the page's header, with zeros where `fields` stand. */
  readonly fixed: Buffer;
  readonly fields: readonly ModeField[];
  /** Left out: every unit has it. */
  readonly isOf?: (kind: PagedUnit) => boolean;
}

/** What decides which pages a unit has. */
export interface PagedUnit {
  /** Fully provisioned. */
  readonly full: boolean;
  /** Null: it has one target port. */
  readonly ports: TargetPorts | null;
}

/** A page with a subpage code says so and has a longer header (SPC-4 7.5.7). */
const SPF = 0x40;

const headerBytesOf = (subpageCode: number): number => (subpageCode === 0 ? 2 : 4);

function page(
  pageCode: number,
  subpageCode: number,
  lengthBytes: number,
  set: Record<number, number>,
  fields: readonly ModeField[] = [],
): ModePage {
  const fixed = Buffer.alloc(lengthBytes);
  // Offsets are the standards', which count the header.
  const headerBytes = headerBytesOf(subpageCode);
  for (const [at, value] of Object.entries(set)) fixed[Number(at) - headerBytes] = value;
  return {
    pageCode,
    subpageCode,
    fixed,
    fields: fields.map((one) => ({ ...one, at: one.at - headerBytes })),
  };
}

/** In the order of page 3Fh: by page code, then subpage code (SPC-4 6.13.1). */
const PAGES: readonly ModePage[] = [
  // Caching (SBC-3 6.5.6): WCE, while a write is acknowledged before it is durable.
  page(0x08, 0, 18, {}, [{ at: 2, mask: 0x04, mode: 'writeCache' }]),
  // Control (SPC-4 7.5.8): QUEUE ALGORITHM MODIFIER 1: SIMPLE tasks may be reordered. TAS 1: a task aborted by
  // another initiator ends with TASK ABORTED.
  page(0x0a, 0, 10, { 3: 0x10, 5: 0x40 }, [
    { at: 2, mask: 0x04, mode: 'descriptorSense' },
    { at: 4, mask: 0x08, mode: 'writeProtected' },
  ]),
  // Control Extension (SPC-4 7.5.9): IALUAE, implicit asymmetric access is allowed, as TPGS of INQUIRY says, too.
  { ...page(0x0a, 1, 28, {}), isOf: ({ ports }) => ports === null },
  { ...page(0x0a, 1, 28, { 4: 0x01 }), isOf: ({ ports }) => ports !== null },
  // Informational Exceptions Control (SPC-4 7.5.14): DEXCPT, none are ever reported.
  page(0x1c, 0, 10, { 2: 0x08 }),
  // Logical Block Provisioning (SBC-4 6.5.9), which goes with the log page: no threshold can be armed.
  { ...page(0x1c, 2, 12, {}), isOf: ({ full }) => !full },
];

const ALL_PAGES = 0x3f;
const ALL_SUBPAGES = 0xff;

/** PC, bits 7–6 of byte 2 (SPC-4 table 154). */
export const PageControl = { CURRENT: 0, CHANGEABLE: 1, DEFAULT: 2, SAVED: 3 } as const;

/** The pages asked for; empty when there is none of that name. */
export function selectPages(unit: PagedUnit, pageCode: number, subpageCode: number): readonly ModePage[] {
  // Only "none" and "all" have a meaning beside page code 3Fh (SPC-4 table 155).
  if (pageCode === ALL_PAGES && subpageCode !== 0 && subpageCode !== ALL_SUBPAGES) return [];
  return PAGES.filter(
    (candidate) =>
      candidate.isOf?.(unit) !== false &&
      (pageCode === ALL_PAGES || candidate.pageCode === pageCode) &&
      (subpageCode === ALL_SUBPAGES || candidate.subpageCode === subpageCode),
  );
}

/** Changeable values are a mask, without what cannot be changed (SPC-4 6.13.1). */
function parametersOf({ fixed, fields }: ModePage, pageControl: number, modes: Modes): Buffer {
  const isMask = pageControl === PageControl.CHANGEABLE;
  const from = pageControl === PageControl.DEFAULT ? DEFAULT_MODES : modes;
  const parameters = isMask ? Buffer.alloc(fixed.length) : Buffer.from(fixed);
  for (const { at, mask, mode } of fields) {
    if (isMask || from[mode]) parameters[at] = byteAt(parameters, at) | mask;
  }
  return parameters;
}

export function encodeModePage(modePage: ModePage, pageControl: number, modes: Modes): Buffer {
  const { pageCode, subpageCode } = modePage;
  const parameters = parametersOf(modePage, pageControl, modes);
  const { length } = parameters;
  const header =
    subpageCode === 0 ? [pageCode, length] : [SPF | pageCode, subpageCode, length >>> 8, length & 0xff];
  return Buffer.concat([Buffer.from(header), parameters]);
}

/**
 * What the pages of a mode parameter list, from `start` to its end, set: all of them, or the reason why none is set
 * (SPC-4 6.11: a field that cannot be changed has to be as it is).
 */
export function readModePages(unit: PagedUnit, list: Buffer, start: number): Partial<Modes> | Sense {
  const changed: Partial<Record<keyof Modes, boolean>> = {};
  for (let at = start; at < list.length;) {
    const hasSubpage = (byteAt(list, at) & SPF) !== 0;
    const headerBytes = headerBytesOf(hasSubpage ? 1 : 0);
    if (at + headerBytes > list.length) return SENSE.PARAMETER_LIST_LENGTH_ERROR;
    const subpageCode = hasSubpage ? byteAt(list, at + 1) : 0;
    // A page without a subpage code comes with SPF 0, and "all" is no page (SPC-4 7.5.7).
    if (hasSubpage && (subpageCode === 0 || subpageCode === ALL_SUBPAGES))
      return invalidParameterField(at + 1);
    // PS, bit 7, says something in MODE SENSE alone.
    const [modePage] = selectPages(unit, byteAt(list, at) & 0x3f, subpageCode);
    const length = hasSubpage ? uint16(list, at + 2) : byteAt(list, at + 1);
    if (modePage === undefined || (byteAt(list, at) & 0x3f) === ALL_PAGES) return invalidParameterField(at);
    if (length !== modePage.fixed.length) return invalidParameterField(at + headerBytes / 2);
    const parametersAt = at + headerBytes;
    at = parametersAt + length;
    if (at > list.length) return SENSE.PARAMETER_LIST_LENGTH_ERROR;
    const wrong = findUnchangeable(modePage, list.subarray(parametersAt, at));
    if (wrong !== -1) return invalidParameterField(parametersAt + wrong);
    for (const field of modePage.fields) {
      changed[field.mode] = (byteAt(list, parametersAt + field.at) & field.mask) !== 0;
    }
  }
  return changed;
}

/** Where `sent` differs in more than can be changed, or −1. */
function findUnchangeable(modePage: ModePage, sent: Buffer): number {
  const changeable = parametersOf(modePage, PageControl.CHANGEABLE, DEFAULT_MODES);
  return sent.findIndex((byte, i) => ((byte ^ byteAt(modePage.fixed, i)) & ~byteAt(changeable, i)) !== 0);
}
