// Writes each TypeScript block of a README as a module of its own, and what the blocks say that they print:
// extract-readme.js README FOLDER. `"localhost:50051"` becomes the address of the server that the test started.
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const [readme, folder] = process.argv.slice(2);
const expected = {};
rmSync(folder, { recursive: true, force: true });
mkdirSync(folder, { recursive: true });
[...readFileSync(readme, "utf8").matchAll(/^```ts\n(.*?)^```$/gms)].forEach(([, code], index) => {
  const name = `block-${String(index + 1).padStart(2, "0")}`;
  const placed = code.replaceAll('"localhost:50051"', 'process.env.TURNTREE_URL ?? ""');
  writeFileSync(join(folder, `${name}.ts`), `${placed}\nexport {};\n`);
  expected[`${name}.js`] = [...code.matchAll(/^ *console\.log\(.*\); \/\/ (.*)$/gm)].map(([, text]) => text);
});
writeFileSync(join(folder, "expected.json"), JSON.stringify(expected));
