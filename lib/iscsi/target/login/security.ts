/**
 * The seam for authentication (RFC 7143 12): what happens in the security stage beside plain negotiation, as a
 * conversation per login. Here is the one with AuthMethod=None; chap.ts has the other.
 */
import type { TextPair } from '../../wire/text-keys.js';

/** How the security stage stands after a request. */
export interface SecurityStep {
  /** Keys to answer with, beside AuthMethod's. */
  readonly answers: readonly TextPair[];
  /** failed: 0201h. more: the initiator may not go to the next stage yet. done: it may. */
  readonly state: 'done' | 'more' | 'failed';
}

export interface SecurityConversation {
  /** @param authMethod what was negotiated, undefined if nothing was (yet) */
  step(authMethod: string | undefined, pairs: readonly TextPair[]): SecurityStep;
}

export interface Authenticator {
  /** In order of preference; offered in the negotiation. */
  readonly methods: readonly string[];
  /** Is a login refused that skips the security stage? */
  readonly required: boolean;
  begin(initiatorName: string): SecurityConversation;
}

/** Everybody may in. */
export const openAuthenticator: Authenticator = {
  methods: ['None'],
  required: false,
  begin: () => ({
    step: (authMethod) => ({ answers: [], state: authMethod === 'Reject' ? 'failed' : 'done' }),
  }),
};
