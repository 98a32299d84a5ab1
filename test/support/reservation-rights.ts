/** Who may do what while a unit is reserved, as SPC-4 table 42 and SBC-3 table 13 say it; independent of the code under test. */
import { cdb10, cdb16 } from './scsi-rig.js';

/** By TYPE: what the holder, another registrant, and one without a registration may do: T looks at the unit, R reads, W writes. */
export const RIGHTS: readonly (readonly [
  type: number,
  holder: string,
  registrant: string,
  stranger: string,
])[] = [
  [1, 'TRW', 'TR', 'TR'],
  [3, 'TRW', 'T', 'T'],
  [5, 'TRW', 'TRW', 'TR'],
  [6, 'TRW', 'TRW', 'T'],
  [7, 'TRW', 'TRW', 'TR'],
  [8, 'TRW', 'TRW', 'T'],
];

export const COMMANDS: Readonly<Record<'T' | 'R' | 'W', readonly string[]>> = {
  T: [
    '00 00 00 00 00 00',
    '25 00 00000000 0000 00 00',
    '9e 10 0000000000000000 00000020 0000',
    '1b 00 00 00 01 00',
    '84 03 0000000000000000 00000100 0000',
  ],
  R: [
    cdb10('28', 0, 0, 1),
    cdb16('88', 0, 0, 1),
    '08 00 00 00 01 00',
    cdb10('2f', 0, 0, 1),
    '9e 12 0000000000000000 00000100 0000',
    '1a 08 3f 00 ff 00',
    'a3 0c 00 00 0000 00000100 0000',
    'a3 0d 00 00 0000 00000100 0000',
  ],
  W: [
    cdb10('2a', 0, 0, 1),
    cdb16('8a', 0, 0, 1),
    cdb10('2e', 0, 0, 1),
    cdb10('41', 0, 0, 1),
    cdb10('35', 0, 0, 0),
    '42 00 00000000 00 0000 00',
    '1b 00 00 00 00 00',
    '1d 04 00 0000 00',
  ],
};

/** One more that looks at the unit, which only a removable medium takes. */
export const LOAD = '1b 00 00 00 03 00';

/** To everybody, whatever is reserved. */
export const HARMLESS = ['12 00 00 00 ff 00', 'a0 00 00 000000 00000100 00 00', '03 00 00 00 ff 00'];
