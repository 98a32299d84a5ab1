/** Which sizes a volume can have. Pure, so that the command line can say so before anybody is asked. */
import { EXTENTS_MAX, EXTENT_BYTES_DEFAULT, EXTENT_BYTES_MAX, EXTENT_BYTES_MIN } from '../base/limits.js';

export interface VolumeSizes {
  readonly sizeBytes: number;
  readonly blockBytes: 512 | 4096;
  readonly extentBytes: number;
}

export interface SizeFault {
  readonly field: 'sizeBytes' | 'extentBytes';
  readonly what: string;
  readonly hint: string;
}

/** A volume as it is asked for; what is absent is as usual. */
export function sizesOf(
  sizeBytes: number,
  blockBytes: VolumeSizes['blockBytes'] = 512,
  extentBytes = EXTENT_BYTES_DEFAULT,
): VolumeSizes {
  return { sizeBytes, blockBytes, extentBytes };
}

/** What is wrong with them, or null. */
export function sizeFaultOf({ sizeBytes, blockBytes, extentBytes }: VolumeSizes): SizeFault | null {
  if (!Number.isSafeInteger(sizeBytes) || sizeBytes <= 0 || sizeBytes % blockBytes !== 0) {
    const what = `a size of ${sizeBytes} bytes is not a number of blocks`;
    return { field: 'sizeBytes', what, hint: `use a multiple of ${blockBytes}` };
  }
  const isExtent = Number.isSafeInteger(extentBytes) && extentBytes % EXTENT_BYTES_MIN === 0;
  if (!isExtent || extentBytes < EXTENT_BYTES_MIN || extentBytes > EXTENT_BYTES_MAX) {
    const what = `extents of ${extentBytes} bytes are not possible`;
    return { field: 'extentBytes', what, hint: 'use a multiple of 64K, up to 1G' };
  }
  if (Math.ceil(sizeBytes / extentBytes) > EXTENTS_MAX) {
    const what = `more than ${EXTENTS_MAX} extents`;
    return { field: 'extentBytes', what, hint: 'make it smaller, or its extents larger' };
  }
  return null;
}
