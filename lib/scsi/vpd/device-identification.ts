/** VPD 83h, Device Identification (SPC-4 7.8.6): the names by which hosts know a volume again (I9). */
import type { DiskUnit } from '../unit.js';

/** CODE SET (SPC-4 table 33). */
const CodeSet = { BINARY: 1, ASCII: 2, UTF8: 3 } as const;
/** ASSOCIATION (SPC-4 table 34). */
const Association = { LOGICAL_UNIT: 0, TARGET_PORT: 1, TARGET_DEVICE: 2 } as const;
/** DESIGNATOR TYPE (SPC-4 7.8.6.1). */
const DesignatorType = {
  T10_VENDOR: 1,
  NAA: 3,
  RELATIVE_TARGET_PORT: 4,
  PORT_GROUP: 5,
  SCSI_NAME: 8,
} as const;
/** PROTOCOL IDENTIFIER of iSCSI (SPC-4 table 508). */
const ISCSI = 5;
/** PIV: the protocol identifier is valid; only ports and target devices speak a protocol. */
const PIV = 0x80;

function designator(codeSet: number, association: number, type: number, value: Buffer): Buffer {
  const ofUnit = association === Association.LOGICAL_UNIT;
  const header = Buffer.from([
    (ofUnit ? 0 : ISCSI << 4) | codeSet,
    (ofUnit ? 0 : PIV) | (association << 4) | type,
    0,
    value.length,
  ]);
  return Buffer.concat([header, value]);
}

/** A SCSI name string: UTF-8, ended by a NUL and padded with NULs to a multiple of four (SPC-4 7.8.6.11). */
function nameString(name: string): Buffer {
  const text = Buffer.from(name, 'utf8');
  const padded = Buffer.alloc((text.length + 4) & ~3);
  text.copy(padded);
  return padded;
}

/** The designation descriptors of the logical unit itself. */
function unitDesignators(unit: DiskUnit): Buffer[] {
  const t10 = Buffer.from(unit.vendor + unit.product + unit.serial, 'latin1');
  return [
    designator(CodeSet.BINARY, Association.LOGICAL_UNIT, DesignatorType.NAA, unit.naa),
    designator(CodeSet.ASCII, Association.LOGICAL_UNIT, DesignatorType.T10_VENDOR, t10),
  ];
}

/** Whether a designation descriptor is one of this unit's, and of no port or target device. */
export function designates(descriptor: Buffer, unit: DiskUnit): boolean {
  return unitDesignators(unit).some((own) => own.equals(descriptor));
}

/** Two bytes behind two that are reserved: a port (SPC-4 7.8.6.7) and a group of ports (7.8.6.8) look alike. */
function portNumber(number: number): Buffer {
  return Buffer.from([0, 0, number >>> 8, number & 0xff]);
}

/**
 * The port through which this is asked. By default every portal of the group is the one port "t,0x0001" to SCSI: it looks
 * the same from each member. Where each member serves for the home, each is a port, and a group of ports, of its own.
 */
function portDesignators({ ports, iqn }: DiskUnit): Buffer[] {
  const number = ports?.self ?? 1;
  const name = nameString(`${iqn},t,0x${number.toString(16).padStart(4, '0')}`);
  const { TARGET_PORT } = Association;
  const { RELATIVE_TARGET_PORT, PORT_GROUP, SCSI_NAME } = DesignatorType;
  const value = portNumber(number);
  return [
    designator(CodeSet.BINARY, TARGET_PORT, RELATIVE_TARGET_PORT, value),
    ...(ports === null ? [] : [designator(CodeSet.BINARY, TARGET_PORT, PORT_GROUP, value)]),
    designator(CodeSet.UTF8, TARGET_PORT, SCSI_NAME, name),
  ];
}

export function encodeDeviceIdentification(unit: DiskUnit): Buffer {
  return Buffer.concat([
    ...unitDesignators(unit),
    ...portDesignators(unit),
    designator(CodeSet.UTF8, Association.TARGET_DEVICE, DesignatorType.SCSI_NAME, nameString(unit.iqn)),
  ]);
}
