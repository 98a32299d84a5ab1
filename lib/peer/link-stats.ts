/** What is known of one link, for those who look. */
export class LinkStats {
  /** Milliseconds, of the last ping; −1 before the first. */
  rttMs = -1;
  bytesIn = 0;
}
