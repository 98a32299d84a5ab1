/** The vital product data pages (SPC-4 7.8, SBC-3 6.6): which there are, and the header that all share. */
import type { DiskUnit } from '../unit.js';
import { encodeBlockLimits } from './block-limits.js';
import { encodeDeviceIdentification } from './device-identification.js';
import { encodeExtendedInquiryData } from './extended-inquiry.js';
import { encodeBlockDeviceCharacteristics, encodeLogicalBlockProvisioning } from './provisioning.js';
import { encodeThirdPartyCopy } from './third-party-copy.js';

/** A page's bytes after the four-byte header. */
type EncodeBody = (unit: DiskUnit) => Buffer;

const LOGICAL_BLOCK_PROVISIONING = 0xb2;

/** In ascending order of page code, as page 00h has to list them (SPC-4 7.8.17). */
const PAGES: ReadonlyMap<number, EncodeBody> = new Map<number, EncodeBody>([
  [0x00, (unit) => Buffer.from([...PAGES.keys()].filter((pageCode) => isPageOf(unit, pageCode)))],
  [0x80, (unit) => Buffer.from(unit.serial, 'latin1')],
  [0x83, encodeDeviceIdentification],
  [0x86, encodeExtendedInquiryData],
  [0x8f, encodeThirdPartyCopy],
  [0xb0, encodeBlockLimits],
  [0xb1, encodeBlockDeviceCharacteristics],
  [LOGICAL_BLOCK_PROVISIONING, encodeLogicalBlockProvisioning],
]);

/** What is said of logical block provisioning management is said where there is such a thing (SBC-4 4.7.2). */
function isPageOf(unit: DiskUnit, pageCode: number): boolean {
  return !unit.full || pageCode !== LOGICAL_BLOCK_PROVISIONING;
}

/** The whole page, or null when there is none of that code. */
export function encodeVpdPage(unit: DiskUnit, pageCode: number): Buffer | null {
  const encodeBody = PAGES.get(pageCode);
  if (encodeBody === undefined || !isPageOf(unit, pageCode)) return null;
  const body = encodeBody(unit);
  const header = Buffer.from([0x00, pageCode, body.length >>> 8, body.length & 0xff]);
  return Buffer.concat([header, body]);
}
