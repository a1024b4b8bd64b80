// Bundles GraphiQL and our page around it into one script and one style: node build.mjs MODULES OUT
//
// MODULES is where package-lock.json was installed (scripts/playground says where), OUT gets the files that bff/build.rs
// looks for. Nothing is fetched here.
import { createRequire } from "node:module";
import { mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { constants, gzipSync } from "node:zlib";

const here = dirname(fileURLToPath(import.meta.url));
const [modules, out] = process.argv.slice(2).map((path) => resolve(path));
const esbuild = createRequire(join(modules, "package.json"))("esbuild");

// An example is a document; its first line is its name, the comments below say what it does. Its variables, if it has
// any, are beside it.
const examples = join(here, "examples");
const read = (name) => readFileSync(join(examples, name), "utf8").trim();
const names = readdirSync(examples).filter((name) => name.endsWith(".graphql")).sort();
const texts = names.map((name) => {
  const variables = name.replace(/graphql$/, "json");
  const query = read(name);
  return {
    title: query.split("\n", 1)[0].replace(/^#\s*/, ""),
    query,
    variables: readdirSync(examples).includes(variables) ? read(variables) : "",
  };
});

// GraphiQL's style brings fonts within itself, 300 kB of them; the page takes the system's, which src/playground.css names.
const withoutFonts = {
  name: "without-fonts",
  setup(build) {
    build.onLoad({ filter: /graphiql[/\\]dist[/\\]style\.css$/ }, ({ path }) => {
      const contents = readFileSync(path, "utf8").replace(/@font-face\s*\{[^}]*\}/g, "");
      return { contents, loader: "css" };
    });
  },
};

await esbuild.build({
  entryPoints: { playground: join(here, "src/main.jsx") },
  outdir: out,
  bundle: true,
  minify: true,
  format: "iife",
  jsx: "automatic",
  target: ["es2022"],
  plugins: [withoutFonts],
  alias: { "react-style-singleton": join(here, "src/style-singleton.js") },
  nodePaths: [join(modules, "node_modules")],
  define: { "process.env.NODE_ENV": '"production"', BELAY_EXAMPLES: JSON.stringify(texts) },
  // No licence text is lost: the packages' own are collected at the end of each file.
  legalComments: "eof",
  logLevel: "warning",
});

mkdirSync(out, { recursive: true });
writeFileSync(join(out, "playground.html"), readFileSync(join(here, "src/playground.html")));
for (const name of ["playground.html", "playground.js", "playground.css"]) {
  const bytes = readFileSync(join(out, name));
  writeFileSync(join(out, `${name}.gz`), gzipSync(bytes, { level: constants.Z_BEST_COMPRESSION }));
}
