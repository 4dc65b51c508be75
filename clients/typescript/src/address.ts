import { readFileSync } from "node:fs";
import { invalid } from "./errors.js";

const LIMIT = "host:port, turntree://host:port or turntrees://host:port";
const FILES = new Map([
  ["ca_file", "ca"],
  ["cert_file", "cert"],
  ["key_file", "key"],
] as const);

/** What TLS uses, in PEM. */
export interface Tls {
  ca?: string;
  cert?: string;
  key?: string;
}

/** Where a server is, and how it is reached. */
export interface Address {
  /** `host:port`. */
  readonly target: string;

  /** The certificates and the key to use with TLS; absent when the connection is plain. */
  readonly tls: Tls | undefined;

  /** Whether it is this machine itself, so that nobody can listen in. */
  readonly isLoopback: boolean;
}

/**
 * Read the address of a server.
 *
 * `host:port` and `turntree://host:port` are plain connections; `turntrees://host:port` is TLS, with the options `ca_file`
 * (the certificates to trust) and `cert_file` with `key_file` (this client's own certificate).
 *
 * @throws {@link TurntreeError} FIELD_INVALID, when it is none of these or a file cannot be read.
 */
export function parseAddress(text: string): Address {
  const [, scheme = "turntree", host = "", port = "", query] =
    /^(?:([a-z]+):\/\/)?(\[[\da-f:.]+\]|[^\s:/?#@[\]]+):(\d{1,5})\/?(?:\?(.*))?$/i.exec(text) ?? [];
  if (!["turntree", "turntrees"].includes(scheme) || host === "" || Number(port) < 1 || Number(port) > 65_535) {
    throw invalid("address", text, LIMIT);
  }
  const options = new URLSearchParams(query);
  if (scheme === "turntree" && options.size > 0) {
    throw invalid("address", text, `turntrees://, to have the option '${[...options.keys()].join("', '")}'`);
  }
  return {
    target: `${host}:${port}`,
    tls: scheme === "turntrees" ? readTls(text, options) : undefined,
    isLoopback: /^(localhost|\[::1\]|127(\.\d{1,3}){3})$/i.test(host),
  };
}

function readTls(text: string, options: URLSearchParams): Tls {
  for (const name of options.keys()) {
    if (!FILES.has(name as "ca_file")) throw invalid("address", text, `without the option '${name}'`);
  }
  if (options.has("cert_file") !== options.has("key_file")) {
    throw invalid("address", text, "with both of the options 'cert_file' and 'key_file', or none of them");
  }
  const tls: Tls = {};
  for (const [option, name] of FILES) {
    const path = options.get(option);
    if (path !== null) tls[name] = readFile(option, path);
  }
  return tls;
}

function readFile(option: string, path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw invalid(option, path, `a file that can be read (${code ?? "failed"})`);
  }
}
