/** TransportIDs of iSCSI initiator ports (SPC-4 7.6.4.6): "name,i,0xISID" between four bytes of header and padding. */

const HEADER_BYTES = 4;
/** FORMAT CODE 01b: with the ISID; PROTOCOL IDENTIFIER 5h: iSCSI. */
const INITIATOR_PORT = 0x45;
const BYTES_MIN = 24;
/** An iSCSI name of 223 bytes, ",i,0x", twelve digits and a zero, padded. */
const BYTES_MAX = HEADER_BYTES + 244;
const PORT = /^(?:iqn|eui|naa)\.[a-z0-9.:-]{1,219},i,0x[0-9a-f]{1,12}$/;

/** As long as it needs to be: a multiple of four. */
export function encodeTransportId(initiatorPort: string): Buffer {
  const nameBytes = Math.max(BYTES_MIN - HEADER_BYTES, Math.ceil((initiatorPort.length + 1) / 4) * 4);
  const bytes = Buffer.alloc(HEADER_BYTES + nameBytes);
  bytes[0] = INITIATOR_PORT;
  bytes.writeUInt16BE(nameBytes, 2);
  bytes.write(initiatorPort, HEADER_BYTES, 'latin1');
  return bytes;
}

export interface DecodedTransportId {
  readonly initiatorPort: string;
  readonly lengthBytes: number;
}

/** The TransportID at the beginning of `bytes`; null when it is none of an iSCSI initiator port. */
export function decodeTransportId(bytes: Buffer): DecodedTransportId | null {
  if (bytes.length < BYTES_MIN || bytes[0] !== INITIATOR_PORT) return null;
  const lengthBytes = HEADER_BYTES + bytes.readUInt16BE(2);
  if (
    lengthBytes < BYTES_MIN ||
    lengthBytes > BYTES_MAX ||
    lengthBytes > bytes.length ||
    lengthBytes % 4 !== 0
  )
    return null;
  const text = bytes.toString('latin1', HEADER_BYTES, lengthBytes);
  const end = text.indexOf('\0');
  const initiatorPort = canonical(end === -1 ? text : text.slice(0, end));
  return PORT.test(initiatorPort) ? { initiatorPort, lengthBytes } : null;
}

/** ISIDs are written with and without leading zeros, in both cases: one form, the one of sessions. */
function canonical(name: string): string {
  const [iscsiName = '', rest] = name.toLowerCase().split(',i,0x');
  return rest === undefined ? name : `${iscsiName},i,0x${rest.padStart(12, '0')}`;
}
