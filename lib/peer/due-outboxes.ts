/**
 * The outboxes of one hub that have something to send. They send when the running tick ends, or before, when somebody is
 * about to be busy with something else for a while: what is asked of another member is then done there meanwhile.
 */

export interface DueOutbox {
  flushDue(): void;
}

export class DueOutboxes {
  private readonly due: DueOutbox[] = [];
  private scheduled = false;

  add(outbox: DueOutbox): void {
    this.due.push(outbox);
    if (this.scheduled) return;
    this.scheduled = true;
    process.nextTick(endTick, this);
  }

  /** Those that are due now; each may be added again. */
  send(): void {
    for (let outbox = this.due.pop(); outbox !== undefined; outbox = this.due.pop()) outbox.flushDue();
  }

  endTick(): void {
    this.scheduled = false;
    this.send();
  }
}

function endTick(due: DueOutboxes): void {
  due.endTick();
}
