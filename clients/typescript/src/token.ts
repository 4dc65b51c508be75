import type { Address } from "./address.js";
import { TurntreeError } from "./errors.js";
import { ErrorReason } from "./gen/turntree/v1/error_reason_pb.js";

/** A token, or a function that gives a fresh one whenever a stream to the server is opened. */
export type Token = string | (() => string | Promise<string>);

/** Whether a token is another one each time. */
export function isFresh(token: Token | undefined): boolean {
  return typeof token === "function";
}

/** The caller's token could not be had; `cause` says why. */
export class NoToken extends Error {
  constructor(cause: unknown) {
    super("there is no token", { cause });
  }
}

/**
 * The headers that carry a token, made anew whenever they are sent. They fail with {@link NoToken}.
 *
 * @throws {@link TurntreeError} FIELD_INVALID, when the token would go over a plain connection to another machine.
 */
export function authorization(token: Token | undefined, address: Address): () => Promise<Record<string, string>> {
  if (token === undefined || token === "") return () => Promise.resolve({});
  if (address.tls === undefined && !address.isLoopback) {
    const limit = "sent with TLS (turntrees://), or to this machine itself";
    const facts = { field: "token", value: address.target, limit };
    const message = `a token for ${address.target} must be ${limit}`;
    throw new TurntreeError("INVALID_ARGUMENT", ErrorReason.FIELD_INVALID, message, facts);
  }
  return async () => {
    try {
      return { authorization: `Bearer ${typeof token === "string" ? token : await token()}` };
    } catch (cause) {
      throw new NoToken(cause);
    }
  };
}
