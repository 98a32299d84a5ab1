/** TransportIDs of iSCSI initiator ports (SPC-4 7.6.4.6): "name,i,0xISID" between four bytes of header and padding. */
import { putUint16, uint16 } from '../../base/bytes.js';
import { ISCSI_NAME_BYTES_MAX } from '../../base/limits.js';

const HEADER_BYTES = 4;
/**
 * FORMAT CODE 01b: with the ISID; PROTOCOL IDENTIFIER 5h: iSCSI. Names of initiators without one (00b) are refused, as SPC-4
 * 7.6.4.6 lets them be: no member knows which ports an initiator has at the others.
 */
const INITIATOR_PORT = 0x45;
const BYTES_MIN = 24;
/** An iSCSI name of 223 bytes, ",i,0x", twelve digits and a zero, padded. */
const BYTES_MAX = HEADER_BYTES + 244;
/** Names as sessions may have them (iscsi/target/login/checks.ts), and an ISID with or without its leading zeros. */
const PORT = /^([^\p{C}\s]+),i,0x([0-9a-f]{1,12})$/iu;

/** As long as it needs to be: a multiple of four. */
export function encodeTransportId(initiatorPort: string): Buffer {
  const portBytes = Buffer.byteLength(initiatorPort);
  const nameBytes = Math.max(BYTES_MIN - HEADER_BYTES, Math.ceil((portBytes + 1) / 4) * 4);
  const bytes = Buffer.alloc(HEADER_BYTES + nameBytes);
  bytes[0] = INITIATOR_PORT;
  putUint16(bytes, nameBytes, 2);
  bytes.write(initiatorPort, HEADER_BYTES, 'utf8');
  return bytes;
}

export interface DecodedTransportId {
  readonly initiatorPort: string;
  readonly lengthBytes: number;
}

/** The TransportID at the beginning of `bytes`; null when it is none of an iSCSI initiator port. */
export function decodeTransportId(bytes: Buffer): DecodedTransportId | null {
  if (bytes.length < BYTES_MIN || bytes[0] !== INITIATOR_PORT) return null;
  const lengthBytes = HEADER_BYTES + uint16(bytes, 2);
  if (
    lengthBytes < BYTES_MIN ||
    lengthBytes > BYTES_MAX ||
    lengthBytes > bytes.length ||
    lengthBytes % 4 !== 0
  )
    return null;
  const text = bytes.toString('utf8', HEADER_BYTES, lengthBytes);
  const end = text.indexOf('\0');
  const port = PORT.exec(end === -1 ? text : text.slice(0, end));
  if (port === null) return null;
  // The name is compared as it was logged in with; ISIDs are written in both cases: one form, the one of sessions.
  const [, name = '', isid = ''] = port;
  if (Buffer.byteLength(name) > ISCSI_NAME_BYTES_MAX) return null;
  return { initiatorPort: `${name},i,0x${isid.toLowerCase().padStart(12, '0')}`, lengthBytes };
}
