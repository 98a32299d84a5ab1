/** CHAP from the initiator's side (RFC 7143 12.1.3): proves who we are and, where asked to, that the target is who it says. */
import { NO_BYTES } from '../../base/bytes.js';
import { BlockferryError } from '../../base/errors.js';
import type { Random } from '../../base/random.js';
import {
  CHAP_ALGORITHMS,
  chapResponse,
  chooseAlgorithm,
  formatChapBinary,
  isSameResponse,
  makeChallenge,
  parseChapBinary,
  parseIdentifier,
  type ChapAlgorithm,
} from '../wire/chap.js';
import { valueOf, type TextPair } from '../wire/text-keys.js';

export interface ChapIdentity {
  readonly name: string;
  readonly secret: string;
  /** What the target has to prove; absent: nothing. */
  readonly target?: { readonly name: string; readonly secret: string };
  /** CHAP_A as it is proposed; default: all, the strongest first. */
  readonly algorithms?: readonly number[];
}

export class ChapConversation {
  private step: 'propose' | 'respond' | 'verify' | 'over' = 'propose';
  private algorithm!: ChapAlgorithm;
  private readonly identifier: number;
  private readonly challenge: Buffer;

  constructor(
    private readonly identity: ChapIdentity,
    random: Random,
  ) {
    this.identifier = random.uint32() & 0xff;
    this.challenge = makeChallenge(random);
  }

  /** The request that goes out next may leave the stage: all that we have to say is said with it. */
  get isLast(): boolean {
    return this.step === 'verify' || this.step === 'over';
  }

  /**
   * The keys of the next request, by all that was answered so far.
   * @throws UNAVAILABLE when the target is not who it should be, PROTOCOL when it does not keep to the exchange
   */
  next(answered: readonly TextPair[]): TextPair[] {
    switch (this.step) {
      case 'propose':
        if (valueOf(answered, 'AuthMethod') !== 'CHAP') throw violation('it does not authenticate by CHAP');
        this.step = 'respond';
        return [{ key: 'CHAP_A', value: this.proposal.join(',') }];
      case 'respond':
        this.step = 'verify';
        return this.respond(answered);
      case 'verify':
        this.step = 'over';
        this.verify(answered);
        return [];
      case 'over':
        return [];
    }
  }

  private get proposal(): readonly number[] {
    return this.identity.algorithms ?? CHAP_ALGORITHMS.map(({ code }) => code);
  }

  private respond(answered: readonly TextPair[]): TextPair[] {
    const chosen = chooseAlgorithm(valueOf(answered, 'CHAP_A') ?? '');
    const identifier = parseIdentifier(valueOf(answered, 'CHAP_I') ?? '');
    const challenge = parseChapBinary(valueOf(answered, 'CHAP_C') ?? '');
    if (chosen === undefined || !this.proposal.includes(chosen.code))
      throw violation('it chose no CHAP algorithm');
    if (identifier === undefined || challenge === undefined) throw violation('it sent no CHAP challenge');
    this.algorithm = chosen;
    const { name, secret, target } = this.identity;
    const response = chapResponse(chosen, identifier, secret, challenge);
    const keys = [
      { key: 'CHAP_N', value: name },
      { key: 'CHAP_R', value: formatChapBinary(response) },
    ];
    if (target === undefined) return keys;
    return [
      ...keys,
      { key: 'CHAP_I', value: String(this.identifier) },
      { key: 'CHAP_C', value: formatChapBinary(this.challenge) },
    ];
  }

  private verify(answered: readonly TextPair[]): void {
    const { target } = this.identity;
    if (target === undefined) return;
    const response = parseChapBinary(valueOf(answered, 'CHAP_R') ?? '') ?? NO_BYTES;
    const wanted = chapResponse(this.algorithm, this.identifier, target.secret, this.challenge);
    if (valueOf(answered, 'CHAP_N') === target.name && isSameResponse(response, wanted)) return;
    throw new BlockferryError(
      'UNAVAILABLE',
      'the target could not prove who it is',
      'check the secret of the target',
    );
  }
}

function violation(what: string): BlockferryError {
  return new BlockferryError('PROTOCOL', `the target broke the authentication: ${what}`);
}
