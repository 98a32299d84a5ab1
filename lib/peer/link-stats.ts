/** What one link has carried, for those who look. */
export class LinkStats {
  /** Milliseconds, of the last ping; −1 before the first. */
  rttMs = -1;
  bytesIn = 0;
  bytesOut = 0;
  /** Requests sent over it. */
  requests = 0;
  /** Requests served over it. */
  served = 0;
}
