// Reads asyncapi.json with the AsyncAPI parser: `make test-npm`. Prints what it says; exit code 1 for an error.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const require = createRequire(`${process.cwd()}/`);
const { Parser } = require("@asyncapi/parser");
const { version } = require("@asyncapi/parser/package.json");
const { document, diagnostics } = await new Parser().parse(readFileSync(process.argv[2], "utf8"));
for (const { severity, code, message, path } of diagnostics) console.log(severity, code, message, path.join("/"));
const errors = diagnostics.filter(({ severity }) => severity === 0).length;
const sent = document?.allMessages().all().length ?? 0;
console.log(`@asyncapi/parser ${version}: ${errors} errors, ${sent} messages`);
process.exit(errors || !sent ? 1 : 0);
