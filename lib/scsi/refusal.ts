/** How commands end that are not carried out, and those of which an I/O failed. */
import type { IoError } from '../block/device.js';
import { RefusedIo, type Sense, senseOfIoError } from './sense.js';
import { type Refusal, ScsiStatus } from './task.js';

export function checkCondition(sense: Sense): Refusal {
  return { status: ScsiStatus.CHECK_CONDITION, sense };
}

/** What the failure of an I/O means to the command that it is part of. */
export function refusalOf(error: IoError): Refusal {
  return error instanceof RefusedIo ? error : checkCondition(senseOfIoError(error));
}
