import { X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { createSecureContext } from "node:tls";
import { invalid, kindOf, type TurntreeError } from "./errors.js";

const LIMIT = "host:port, turntree://host:port or turntrees://host:port?ca_file=…&cert_file=…&key_file=…";
const TARGET = /^((?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])):([0-9]{1,5})$/;
const OPTIONS = ["ca_file", "cert_file", "key_file"] as const;

/** The files in PEM that an address names, by option. */
export type TlsFiles = Partial<Record<(typeof OPTIONS)[number], string>>;

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

  /** The files to use with TLS; absent when the connection is plain. */
  readonly tls: TlsFiles | undefined;

  /** Whether it is this machine itself, so that nobody can listen in. */
  readonly isLoopback: boolean;
}

/**
 * Read the address of a server.
 *
 * `host:port` and `turntree://host:port` are plain connections; `turntrees://host:port` is TLS, with the options `ca_file`
 * (the certificates to trust) and `cert_file` with `key_file` (this client's own certificate).
 *
 * @throws {@link TurntreeError} FIELD_INVALID, when it is none of these, or has anything else.
 */
export function parseAddress(text: string): Address {
  if (typeof text !== "string") throw invalid("address", kindOf(text), LIMIT);
  const [first, rest] = text.split(/:\/\/(.*)/s, 2) as [string, string?];
  const scheme = rest === undefined ? "turntree" : first;
  const [path, query = ""] = rest === undefined ? [text] : (rest.split(/\?(.*)/s, 2) as [string, string?]);
  if (`${path}${query.split("=", 1)[0]}`.includes("@")) {
    throw refused(text, "without a user and a password: a token is an option of the client");
  }
  const target = rest === undefined ? path : path.replace(/\/$/, "");
  const [, host = "", port = ""] = TARGET.exec(target) ?? [];
  const isKnown = scheme === "turntrees" || (scheme === "turntree" && query === "");
  if (!isKnown || text.includes("#") || Number(port) < 1 || Number(port) > 65_535) throw refused(text, LIMIT);
  return {
    target,
    tls: scheme === "turntrees" ? parseFiles(text, query) : undefined,
    isLoopback: /^(localhost|\[::1\]|127(\.\d{1,3}){3})$/i.test(host),
  };
}

function parseFiles(text: string, query: string): TlsFiles {
  const options = new URLSearchParams(query);
  const files: TlsFiles = {};
  for (const name of new Set(options.keys())) {
    const option = OPTIONS.find((known) => known === name);
    if (option === undefined) throw refused(text, `without the option '${name}'`);
    const [path, ...others] = options.getAll(name);
    if (!path || others.length > 0) throw refused(text, `with one file as '${name}'`);
    files[option] = path;
  }
  if ((files.cert_file === undefined) !== (files.key_file === undefined)) {
    throw refused(text, "with both cert_file and key_file, or neither");
  }
  return files;
}

/** The error of an address, which it shows without the password that it may have. */
function refused(text: string, limit: string): TurntreeError {
  return invalid("address", text.replace(/^([\w+.-]+:\/\/)?.*@/s, "$1(hidden)@"), limit);
}

/**
 * Read the files that an address names.
 *
 * @throws {@link TurntreeError} FIELD_INVALID with the option and the path, when one cannot be read, or TLS cannot use it.
 */
export function readTls(files: TlsFiles): Tls {
  const { ca_file, cert_file, key_file } = files;
  const tls: Tls = {};
  if (ca_file !== undefined) tls.ca = readPem("ca_file", ca_file, "a certificate", (text) => new X509Certificate(text));
  if (cert_file !== undefined && key_file !== undefined) {
    const cert = readPem("cert_file", cert_file, "a certificate", (text) => new X509Certificate(text));
    tls.cert = cert;
    tls.key = readPem("key_file", key_file, "the key of cert_file", (key) => createSecureContext({ cert, key }));
  }
  return tls;
}

function readPem(option: string, path: string, what: string, parse: (text: string) => unknown): string {
  try {
    const text = readFileSync(path, "utf8");
    parse(text);
    return text;
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    throw invalid(option, path, `a file that holds ${what} in PEM (${code ?? message})`);
  }
}
