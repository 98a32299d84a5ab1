/**
 * Authentication by CHAP, of the initiator and, where it asks, of this target (RFC 7143 12.1.3):
 *
 *   initiator                              target
 *   AuthMethod=CHAP                   ──►
 *                                     ◄──  AuthMethod=CHAP
 *   CHAP_A=7,5                        ──►
 *                                     ◄──  CHAP_A=7 CHAP_I=… CHAP_C=…
 *   CHAP_N=… CHAP_R=… [CHAP_I CHAP_C] ──►
 *                                     ◄──  [CHAP_N=… CHAP_R=…]
 *
 * Whatever is wrong ends the login the same way: it does not tell a wrong name from a wrong secret.
 */
import { NO_BYTES } from '../../../base/bytes.js';
import type { Random } from '../../../base/random.js';
import {
  chapResponse,
  chooseAlgorithm,
  formatChapBinary,
  isSameResponse,
  makeChallenge,
  parseChapBinary,
  parseIdentifier,
  type ChapAlgorithm,
} from '../../wire/chap.js';
import { valueOf, type TextPair } from '../../wire/text-keys.js';
import type { Authenticator, SecurityConversation, SecurityStep } from './security.js';

/** Someone who may log in. */
export interface ChapAccount {
  readonly name: string;
  readonly secret: string;
  /** Of the initiators that may use it; absent: any. */
  readonly initiatorNames?: readonly string[];
}

export interface ChapSecrets {
  readonly accounts: readonly ChapAccount[];
  /** What this target answers to an initiator that asks who we are; absent: such a login fails. */
  readonly target?: { readonly name: string; readonly secret: string };
}

const FAILED: SecurityStep = { answers: [], state: 'failed' };

export class ChapAuthenticator implements Authenticator {
  readonly methods = ['CHAP'];
  readonly required = true;
  private readonly accounts: ReadonlyMap<string, ChapAccount>;

  /**
   * @param secrets no secret of the target is one of an account's (12.1.3): the door that read them has looked
   * @param random must not be guessable
   */
  constructor(
    private readonly secrets: ChapSecrets,
    private readonly random: Random,
  ) {
    this.accounts = new Map(secrets.accounts.map((account) => [account.name, account]));
  }

  begin(initiatorName: string): SecurityConversation {
    return new ChapConversation(this.accounts, this.secrets.target, initiatorName, this.random);
  }
}

class ChapConversation implements SecurityConversation {
  private state: 'method' | 'algorithm' | 'response' | 'done' = 'method';
  private algorithm!: ChapAlgorithm;
  private readonly identifier: number;
  private readonly challenge: Buffer;

  constructor(
    private readonly accounts: ReadonlyMap<string, ChapAccount>,
    private readonly target: ChapSecrets['target'],
    private readonly initiatorName: string,
    random: Random,
  ) {
    this.identifier = random.uint32() & 0xff;
    this.challenge = makeChallenge(random);
  }

  step(authMethod: string | undefined, pairs: readonly TextPair[]): SecurityStep {
    switch (this.state) {
      case 'method':
        if (authMethod !== 'CHAP') return FAILED;
        this.state = 'algorithm';
        return { answers: [], state: 'more' };
      case 'algorithm':
        return this.chooseAlgorithm(pairs);
      case 'response':
        return this.verify(pairs);
      case 'done':
        return { answers: [], state: 'done' };
    }
  }

  private chooseAlgorithm(pairs: readonly TextPair[]): SecurityStep {
    const chosen = chooseAlgorithm(valueOf(pairs, 'CHAP_A') ?? '');
    if (chosen === undefined) return FAILED;
    this.algorithm = chosen;
    this.state = 'response';
    const answers = [
      { key: 'CHAP_A', value: String(chosen.code) },
      { key: 'CHAP_I', value: String(this.identifier) },
      { key: 'CHAP_C', value: formatChapBinary(this.challenge) },
    ];
    return { answers, state: 'more' };
  }

  private verify(pairs: readonly TextPair[]): SecurityStep {
    const account = this.accounts.get(valueOf(pairs, 'CHAP_N') ?? '');
    const response = parseChapBinary(valueOf(pairs, 'CHAP_R') ?? '');
    // A name that nobody has takes as long as one that somebody has.
    const secret = account?.secret ?? this.challenge.toString('hex');
    const wanted = chapResponse(this.algorithm, this.identifier, secret, this.challenge);
    const isRight = isSameResponse(response ?? NO_BYTES, wanted);
    if (!isRight || account === undefined || !this.mayUse(account)) return FAILED;
    const answers = this.answerTheirs(pairs);
    if (answers === null) return FAILED;
    this.state = 'done';
    return { answers, state: 'done' };
  }

  private mayUse({ initiatorNames }: ChapAccount): boolean {
    return initiatorNames === undefined || initiatorNames.includes(this.initiatorName);
  }

  /** The initiator's own challenge, if there is one; null: it cannot or must not be answered. */
  private answerTheirs(pairs: readonly TextPair[]): TextPair[] | null {
    const identifierText = valueOf(pairs, 'CHAP_I');
    const challengeText = valueOf(pairs, 'CHAP_C');
    if (identifierText === undefined && challengeText === undefined) return [];
    const identifier = parseIdentifier(identifierText ?? '');
    const challenge = parseChapBinary(challengeText ?? '');
    if (identifier === undefined || challenge === undefined || this.target === undefined) return null;
    // 12.1.3: our challenge must not come back as theirs, or we would answer it for them.
    if (challenge.equals(this.challenge)) return null;
    const { name, secret } = this.target;
    const response = chapResponse(this.algorithm, identifier, secret, challenge);
    return [
      { key: 'CHAP_N', value: name },
      { key: 'CHAP_R', value: formatChapBinary(response) },
    ];
  }
}
