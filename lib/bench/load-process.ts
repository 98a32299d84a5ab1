/** The process that a lean load runs in: told what to do, and answering, by messages. load-client.ts is the other side. */
import { createHistogram } from 'node:perf_hooks';
import { describeError } from '../base/errors.js';
import { systemClock } from '../base/clock.js';
import { Initiator } from '../iscsi/initiator/index.js';
import type { NegotiationOffer } from '../iscsi/wire/negotiation-rules.js';
import { LeanLoad, type LoadCounters } from './lean-load.js';
import type { LoadAnswer, LoadFigures, LoadOrder, LoadRequest } from './load-client.js';

const DIGESTS: Partial<NegotiationOffer> = { headerDigest: ['CRC32C'], dataDigest: ['CRC32C'] };

class LoadProcess {
  private readonly counters: LoadCounters = {
    ops: 0,
    errors: 0,
    errorText: '',
    histogramUs: createHistogram(),
  };
  private readonly initiators: Initiator[] = [];
  private readonly loads: LeanLoad[] = [];
  private markedMs = systemClock.nowMs();
  private cpu = process.cpuUsage();

  async handle(request: LoadRequest): Promise<void> {
    if (request === 'mark') answer({ figures: this.mark() });
    else if (request === 'stop') for (const load of this.loads) load.stop();
    else await this.start(request.start);
  }

  private async start(order: LoadOrder): Promise<void> {
    for (const [index, url] of order.urls.entries()) {
      const initiator = await Initiator.connect(url, order.digests ? { offer: DIGESTS } : {});
      this.initiators.push(initiator);
      this.loads.push(new LeanLoad(initiator, order.spec, this.counters, index + 1));
    }
    this.mark();
    for (const load of this.loads) load.start();
    answer('started');
    await Promise.all(this.loads.map((load) => load.ended));
    // What was written leaves the page cache before the next measurement begins: both sides pay for their own.
    if (order.spec.readPercent < 100) for (const initiator of this.initiators) await initiator.flush();
    for (const initiator of this.initiators) await initiator.close();
    answer(endOf(this.counters));
  }

  /** Figures since the mark before, and a new mark. */
  private mark(): LoadFigures {
    const { counters } = this;
    const nowMs = systemClock.nowMs();
    const seconds = (nowMs - this.markedMs) / 1000;
    const cpu = process.cpuUsage(this.cpu);
    const { histogramUs, ops, errors, errorText } = counters;
    const figures = {
      ...{ ops, seconds, errors, errorText },
      iops: ops / seconds,
      p999Ms: histogramUs.count === 0 ? 0 : histogramUs.percentile(99.9) / 1000,
      longestMs: histogramUs.count === 0 ? 0 : histogramUs.max / 1000,
      busy: (cpu.user + cpu.system) / 1e6 / seconds,
    };
    counters.ops = 0;
    histogramUs.reset();
    this.markedMs = nowMs;
    this.cpu = process.cpuUsage();
    return figures;
  }
}

/** A fill whose writes failed has filled nothing, whoever asked for no figures. */
export function endOf({ errors, errorText }: Pick<LoadCounters, 'errors' | 'errorText'>): LoadAnswer {
  return errors === 0 ? 'ended' : { failed: `${errors} commands failed: ${errorText}` };
}

function answer(message: LoadAnswer): void {
  process.send?.(message);
}

export function runLoadProcess(): void {
  const load = new LoadProcess();
  process.on('message', (request: LoadRequest) => {
    load.handle(request).catch((error: unknown) => answer({ failed: describeError(error) }));
  });
  process.on('disconnect', () => process.exit());
}
