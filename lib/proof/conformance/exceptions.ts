/** Tests of libiscsi 1.19 that say nothing of a target which keeps to the standards, each with the reason. */

export const EXCEPTIONS: ReadonlyMap<string, string> = new Map([
  [
    'iSCSITMF.LUNResetSimpleAsync',
    'it asserts that the reset was answered before it serves its socket (mended in libiscsi 1.20)',
  ],
  [
    'StartStopUnit.PwrCnd',
    'it wants GOOD for power conditions that are reserved (SBC-3 table 90), which have to be refused (SPC-4 3.3)',
  ],
]);
