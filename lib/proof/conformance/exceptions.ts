/**
 * Tests of libiscsi that say nothing of a target which keeps to the standards, each with the reason. What is wrong in one
 * version alone is no exception in the other.
 */

const OF_BOTH: readonly (readonly [test: string, reason: string])[] = [
  [
    'StartStopUnit.PwrCnd',
    'it wants GOOD for power conditions that are reserved (SBC-3 table 90), which have to be refused (SPC-4 3.3)',
  ],
  [
    'GetLBAStatus.UnmapSingle',
    'it asks for the status of one LBA and wants the answer to begin at another, where a physical block has several logical ' +
      'ones: the first descriptor begins where the CDB says (SBC-3 5.5.2)',
  ],
  [
    'WriteAtomic16.Simple',
    'it asks for 1 to 256 blocks, at any alignment, without a look at MAXIMUM ATOMIC TRANSFER LENGTH and ATOMIC ALIGNMENT ' +
      'of VPD B0h, which the starting LBA and the length have to meet (SBC-4 6.6.4)',
  ],
  [
    'WriteSame10.UnmapUntilEnd',
    'it wants zeros where it has sent ones: with LBPRZ 1 WRITE SAME unmaps for zeros alone (SBC-3 4.7.3.4.4)',
  ],
  [
    'Sanitize.Reset',
    'it wants a block erase of any unit to last for more than 4 s, which no clause says (SBC-4 4.11.2)',
  ],
];

const OF_1_19: typeof OF_BOTH = [
  [
    'iSCSITMF.LUNResetSimpleAsync',
    'it asserts that the reset was answered before it serves its socket (mended in libiscsi 1.20)',
  ],
];

const OF_1_20: typeof OF_BOTH = [
  [
    'CompareAndWrite.InvalidDataOutSize',
    'it sends 2 blocks where it says 1 and 3, which is no fault of the command, and wants it refused',
  ],
  [
    'iSCSISendTargets.Simple',
    'it wants an answer to SendTargets=All in a session that is not for discovery, which must not be (RFC 7143 C)',
  ],
  [
    'iSCSISendTargets.Invalid',
    'the same; and it wants keys that nobody knows refused, whose answer has to be NotUnderstood (RFC 7143 6.2), and waits ' +
      'for ever where libiscsi gives up that answer and its session',
  ],
];

/** A test that came with 1.20. */
const ONLY_IN_1_20 = 'iSCSISendTargets.Simple';

/** @param all the names of all tests of the suite that is installed, without the family */
export function exceptionsOf(all: readonly string[]): ReadonlyMap<string, string> {
  return new Map([...OF_BOTH, ...(all.includes(ONLY_IN_1_20) ? OF_1_20 : OF_1_19)]);
}
