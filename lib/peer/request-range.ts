/** Where on a medium a request reads or changes something, as it comes from another member: checked before it is used. */
import type { BlockDevice, BlockOp } from '../block/device.js';
import type { IncomingRequest } from './contract.js';

/** Whether it names whole blocks that the medium has, at most `bytesMax`, and brings data for a write, and for nothing else. */
export function isInRange(
  { offsetBytes, lengthBytes, payload }: Pick<IncomingRequest, 'offsetBytes' | 'lengthBytes' | 'payload'>,
  { blockBytes, sizeBytes }: Pick<BlockDevice, 'blockBytes' | 'sizeBytes'>,
  op: BlockOp | undefined,
  bytesMax = sizeBytes,
): boolean {
  if (payload.length !== (op === 'write' ? lengthBytes : 0)) return false;
  if (offsetBytes % blockBytes !== 0 || lengthBytes % blockBytes !== 0) return false;
  return lengthBytes > 0 && lengthBytes <= bytesMax && offsetBytes + lengthBytes <= sizeBytes;
}
