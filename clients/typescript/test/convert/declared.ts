/** What the SDKs' own type definitions declare: the members of a union, and any number of samples of each. */

import { fileURLToPath } from "node:url";

import fc from "fast-check";
import ts from "typescript";

/** The members of a union, from the sources in `unions.ts`. */
export interface Member {
  /** Its `type`, with the role where the role tells it apart. */
  readonly name: string;
  /** The literals that its `type` may be; none when it may be left out. */
  readonly types: readonly string[];
  /** The names of its fields. */
  readonly fields: readonly string[];
  /** Values of the type. */
  readonly samples: fc.Arbitrary<unknown>;
}

const SOURCE = fileURLToPath(new URL("../../../test/convert/unions.ts", import.meta.url));
const DEPTH_MAX = 6;

const program = ts.createProgram([SOURCE], {
  module: ts.ModuleKind.NodeNext,
  target: ts.ScriptTarget.ES2022,
  strict: true,
  exactOptionalPropertyTypes: true,
  skipLibCheck: true,
  types: ["node"],
});
const checker = program.getTypeChecker();

/** The members of one of the unions of `unions.ts`. */
export function membersOf(union: string): Member[] {
  const source = program.getSourceFile(SOURCE);
  const module = source && checker.getSymbolAtLocation(source);
  const symbol = module && checker.getExportsOfModule(module).find((one) => one.name === union);
  if (!symbol) {
    throw new Error(`unions.ts has no ${union}`);
  }
  const type = checker.getDeclaredTypeOfSymbol(symbol);
  if (!type.isUnion()) {
    throw new Error(`${union} is not a union: ${checker.typeToString(type)}`);
  }
  return type.types.map((member) => {
    const types = literalsOf(member, "type");
    const roles = literalsOf(member, "role");
    return {
      name: [types.join("|") || "-", ...(roles.length > 0 ? [roles.join("|")] : [])].join(" "),
      types,
      fields: checker.getPropertiesOfType(member).map((property) => property.name),
      samples: arbitrary(member, 0),
    };
  });
}

function literalsOf(type: ts.Type, property: string): string[] {
  const symbol = type.getProperty(property);
  const held = symbol ? checker.getTypeOfSymbol(symbol) : undefined;
  const parts = held?.isUnion() ? held.types : held ? [held] : [];
  return parts.flatMap((part) => (part.isStringLiteral() ? [part.value] : []));
}

function arbitrary(type: ts.Type, depth: number): fc.Arbitrary<unknown> {
  const { flags } = type;
  if (type.isStringLiteral() || type.isNumberLiteral()) {
    return fc.constant(type.value);
  }
  if (flags & ts.TypeFlags.BooleanLiteral) {
    return fc.constant(checker.typeToString(type) === "true");
  }
  if (flags & ts.TypeFlags.Null) {
    return fc.constant(null);
  }
  if (type.isUnion()) {
    const parts = type.types.filter((part) => !(part.flags & ts.TypeFlags.Undefined));
    return fc.oneof(...parts.map((part) => arbitrary(part, depth)));
  }
  if (flags & ts.TypeFlags.String || type.isIntersection()) {
    return fc.oneof(
      fc.string({ maxLength: 8 }),
      fc.constantFrom("", "http://h/p", "https://h/p", "data:a/b;base64,AA=="),
    );
  }
  if (flags & ts.TypeFlags.Number) {
    return fc.integer();
  }
  if (flags & (ts.TypeFlags.Any | ts.TypeFlags.Unknown)) {
    return fc.jsonValue({ maxDepth: 2 });
  }
  if (type.symbol.name === "Uint8Array") {
    return fc.uint8Array({ maxLength: 4 });
  }
  if (flags & ts.TypeFlags.Object) {
    return objectArbitrary(type, depth);
  }
  throw new Error(`no samples of ${checker.typeToString(type)}`);
}

function objectArbitrary(type: ts.Type, depth: number): fc.Arbitrary<unknown> {
  const element = checker.isArrayType(type) ? checker.getTypeArguments(type as ts.TypeReference)[0] : undefined;
  if (element) {
    return depth >= DEPTH_MAX ? fc.constant([]) : fc.array(arbitrary(element, depth + 1), { maxLength: 3 });
  }
  const index = type.getStringIndexType();
  if (index) {
    return fc.dictionary(fc.string({ maxLength: 6 }), arbitrary(index, depth + 1), { maxKeys: 3 });
  }
  const fields: Record<string, fc.Arbitrary<unknown>> = {};
  const required: string[] = [];
  for (const property of checker.getPropertiesOfType(type)) {
    const isOptional = (property.flags & ts.SymbolFlags.Optional) !== 0;
    if (isOptional && depth >= DEPTH_MAX) {
      continue;
    }
    fields[property.name] = arbitrary(checker.getTypeOfSymbol(property), depth + 1);
    if (!isOptional) {
      required.push(property.name);
    }
  }
  return fc.record(fields, { requiredKeys: required });
}
