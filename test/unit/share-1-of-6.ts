/** A sixth of the unit tests, in one process. */
import { runShare } from '../support/share.js';

await runShare(1, 6);
