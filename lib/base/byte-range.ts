/** Ranges of bytes of a file or a volume. */

/** Bytes [fromBytes, toBytes). */
export interface ByteRange {
  readonly fromBytes: number;
  readonly toBytes: number;
}

/** From the first to the last byte of either. */
export function hullOf({ fromBytes, toBytes }: ByteRange, other?: ByteRange): ByteRange {
  return {
    fromBytes: Math.min(fromBytes, other?.fromBytes ?? fromBytes),
    toBytes: Math.max(toBytes, other?.toBytes ?? toBytes),
  };
}
