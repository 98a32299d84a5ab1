/** VPD 86h, Extended INQUIRY Data (SPC-4 7.8.7): which task attributes a command may have, and that there is a cache. */

/** HEADSUP, ORDSUP and SIMPSUP (iscsi/target/task-set.ts). */
const TASK_ATTRIBUTES = 0x07;
/** V_SUP: a write cache that a power failure empties, unless the initiator turns it off (WCE). */
const VOLATILE_CACHE = 0x01;

export function encodeExtendedInquiryData(): Buffer {
  const body = Buffer.alloc(60);
  body[1] = TASK_ATTRIBUTES;
  body[2] = VOLATILE_CACHE;
  return body;
}
