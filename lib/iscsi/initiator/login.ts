/**
 * The initiator's login (RFC 7143 6.3): authentication, operational negotiation, redirects followed. It turns an
 * address into a connection in full feature phase, or into an error that says at which hop and why it failed.
 */
import { NO_BYTES } from '../../base/bytes.js';
import { BlockferryError } from '../../base/errors.js';
import { LOGIN_PDUS_MAX, REDIRECTS_MAX } from '../../base/limits.js';
import { BHS_BYTES, opcodeOf } from '../wire/bhs.js';
import { describePdu } from '../wire/describe.js';
import { decodeLoginResponse, encodeLoginRequest, type LoginResponsePdu } from '../wire/login.js';
import type { OperationalParameters } from '../wire/negotiation-rules.js';
import { conclude, formatOffer } from '../wire/offer.js';
import { LoginStage, LoginStatus, Opcode, nameOf } from '../wire/opcodes.js';
import { TextAssembler, formatText, parseText, valueOf, type TextPair } from '../wire/text-keys.js';
import { ChapConversation } from './chap.js';
import { Connection } from './connection.js';
import type { Settings } from './options.js';
import { formatPortal, parseTargetAddress, type PortalAddress } from './url.js';

/** A connection that may begin with SCSI commands (or Text, in a discovery session). */
export interface LoggedIn {
  readonly connection: Connection;
  readonly parameters: OperationalParameters;
  readonly isid: string;
  readonly tsih: number;
  /** For the first command. */
  readonly cmdSN: number;
  readonly expStatSN: number;
  readonly maxCmdSN: number;
  /** Portals in the order in which they were asked; the last one serves. */
  readonly hops: readonly PortalAddress[];
  /** What the target declared: TargetAlias, TargetPortalGroupTag, … */
  readonly declared: readonly TextPair[];
}

/** Login failed by the target's own word. */
export class LoginRefused extends BlockferryError {
  constructor(
    /** LoginStatus */
    readonly loginStatus: number,
    where: string,
    /** It was said who we are. */
    isNamed: boolean,
  ) {
    const name = nameOf(LoginStatus, loginStatus);
    super(
      loginStatus === LoginStatus.NOT_FOUND ? 'NOT_FOUND' : 'UNAVAILABLE',
      `${where} refused the login: ${name} (${loginStatus.toString(16).padStart(4, '0')}h)`,
      hintFor(loginStatus, isNamed),
    );
  }

  /** Status classes 1 and 2 will be the same next time; class 3 is the target's trouble, and may pass. */
  get isLasting(): boolean {
    return this.loginStatus >> 8 !== 3;
  }
}

function hintFor(loginStatus: number, isNamed: boolean): string | undefined {
  if (loginStatus === LoginStatus.NOT_FOUND)
    return 'there is no target of that name; list them with iscsi-ls';
  if (loginStatus !== LoginStatus.AUTHENTICATION_FAILURE) return undefined;
  return isNamed
    ? 'the name or the secret of --chap is not of an account there, or the account is not for this initiator'
    : 'it wants to know who we are: give a name and a secret with --chap';
}

/** Twelve hexadecimal digits of type "random" (RFC 7143 11.12.5). */
export function randomIsid(settings: Settings): string {
  const random = (settings.random.uint32() & 0xffffff).toString(16).padStart(6, '0');
  const qualifier = (settings.random.uint32() & 0xffff).toString(16).padStart(4, '0');
  return `80${random}${qualifier}`;
}

/**
 * Logs in at `portal`, following every redirect.
 * @param iqn the target of a normal session, or null for a discovery session
 */
export async function logIn(
  portal: PortalAddress,
  iqn: string | null,
  settings: Settings,
): Promise<LoggedIn> {
  const hops: PortalAddress[] = [];
  const isid = settings.isid ?? randomIsid(settings);
  for (let address = portal; ;) {
    hops.push(address);
    if (hops.length > REDIRECTS_MAX + 1) {
      const way = hops.map(formatPortal).join(' → ');
      throw new BlockferryError(
        'PROTOCOL',
        `redirected in a loop: ${way}`,
        'every member must agree on the home',
      );
    }
    const connection = await Connection.open(address, settings, settings.loginDeadlineMs);
    try {
      const outcome = await new LoginExchange(connection, settings, iqn, isid).run();
      if (!('redirectTo' in outcome)) return { ...outcome, hops };
      connection.close('redirected');
      address = outcome.redirectTo;
    } catch (error) {
      connection.close('login failed');
      throw error;
    }
  }
}

type Outcome = Omit<LoggedIn, 'hops'> | { readonly redirectTo: PortalAddress };

/** One login phase on one connection. */
class LoginExchange {
  private readonly bhs = Buffer.alloc(BHS_BYTES);
  private readonly answered: TextPair[] = [];
  private readonly deadlineMs: number;
  private csg: number;
  private cmdSN = 1;
  private expStatSN = 0;
  private requests = 0;

  constructor(
    private readonly connection: Connection,
    private readonly settings: Settings,
    private readonly iqn: string | null,
    private readonly isid: string,
  ) {
    const isSecure = settings.firstStage === 'security' || settings.chap !== null;
    this.csg = isSecure ? LoginStage.SECURITY : LoginStage.OPERATIONAL;
    this.deadlineMs = settings.clock.nowMs() + settings.loginDeadlineMs;
  }

  async run(): Promise<Outcome> {
    const { chap } = this.settings;
    const conversation = chap === null ? null : new ChapConversation(chap, this.settings.random);
    let keys = this.firstKeys();
    for (;;) {
      const response = await this.exchange(keys, conversation === null || conversation.isLast);
      if (response.status >> 8 === 1) return { redirectTo: this.redirection() };
      if (response.status !== LoginStatus.SUCCESS) {
        const where = formatPortal(this.connection.address);
        throw new LoginRefused(response.status, where, conversation !== null);
      }
      keys = [];
      if (this.csg === LoginStage.SECURITY && conversation !== null) keys = conversation.next(this.answered);
      if (!response.transit) continue;
      if (response.nsg === LoginStage.FULL_FEATURE) return this.finish(response);
      if (response.nsg <= this.csg) throw this.violation(`transit to stage ${response.nsg}`);
      this.csg = response.nsg;
      keys = this.operationalKeys();
    }
  }

  private firstKeys(): TextPair[] {
    const { initiatorName, initiatorAlias, offer } = this.settings;
    const keys: TextPair[] = [{ key: 'InitiatorName', value: initiatorName }];
    if (initiatorAlias !== '') keys.push({ key: 'InitiatorAlias', value: initiatorAlias });
    if (this.iqn !== null) keys.push({ key: 'TargetName', value: this.iqn });
    keys.push({ key: 'SessionType', value: this.iqn === null ? 'Discovery' : 'Normal' });
    if (this.csg === LoginStage.OPERATIONAL) return [...keys, ...this.operationalKeys()];
    return [...keys, { key: 'AuthMethod', value: offer.authMethod.join(',') }];
  }

  private operationalKeys(): TextPair[] {
    return formatOffer(this.settings.offer, this.iqn === null ? 'Discovery' : 'Normal');
  }

  /** Sends one request and gathers its whole answer. */
  private async exchange(keys: readonly TextPair[], transit: boolean): Promise<LoginResponsePdu> {
    this.request(formatText(keys), transit);
    const text = new TextAssembler();
    for (;;) {
      const { bhs, data } = await this.connection.receive(this.remainingMs());
      if (opcodeOf(bhs) !== Opcode.LOGIN_RESPONSE) throw this.violation(describePdu(bhs));
      const response = decodeLoginResponse(bhs);
      this.expStatSN = (response.statSN + 1) >>> 0;
      text.add(data);
      if (!response.continues) {
        this.answered.push(...parseText(text.take()));
        return response;
      }
      // RFC 7143 6.2: an incomplete text is answered with an empty request that asks for the rest.
      this.request(NO_BYTES, false);
    }
  }

  private request(text: Buffer, transit: boolean): void {
    this.requests += 1;
    if (this.requests > LOGIN_PDUS_MAX) throw this.violation(`no end after ${LOGIN_PDUS_MAX} requests`);
    const nsg = this.csg === LoginStage.SECURITY ? LoginStage.OPERATIONAL : LoginStage.FULL_FEATURE;
    encodeLoginRequest(
      {
        transit,
        continues: false,
        csg: this.csg,
        nsg: transit ? nsg : 0,
        versionMax: 0,
        versionMin: 0,
        isid: this.isid,
        tsih: 0,
        totalAHSLength: 0,
        dataSegmentLength: text.length,
        initiatorTaskTag: 0,
        cid: 0,
        cmdSN: this.cmdSN,
        expStatSN: this.expStatSN,
      },
      this.bhs,
    );
    this.connection.send(this.bhs, text);
  }

  private redirection(): PortalAddress {
    const value = valueOf(this.answered, 'TargetAddress');
    if (value === undefined) throw this.violation('a redirect without TargetAddress');
    const { host, port } = parseTargetAddress(value);
    return { host, port };
  }

  private finish(response: LoginResponsePdu): Outcome {
    const parameters = conclude(this.settings.offer, this.answered);
    this.connection.setDigests(parameters.headerDigest, parameters.dataDigest);
    return {
      connection: this.connection,
      parameters,
      isid: this.isid,
      tsih: response.tsih,
      cmdSN: this.cmdSN,
      expStatSN: this.expStatSN,
      maxCmdSN: response.maxCmdSN,
      declared: this.answered,
    };
  }

  private remainingMs(): number {
    return Math.max(1, this.deadlineMs - this.settings.clock.nowMs());
  }

  private violation(what: string): BlockferryError {
    return new BlockferryError(
      'PROTOCOL',
      `${formatPortal(this.connection.address)} broke the login: ${what}`,
    );
  }
}
