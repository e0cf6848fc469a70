// Writes ../static/vendor, and the accessibility checker of the tests, from the packages pinned in package.json.
import { copyFile, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { build } from "esbuild";

const here = new URL(".", import.meta.url);
const at = (path) => new URL(path, here);
const vendor = at("../static/vendor/");
const tests = at("../../../tests/browser/vendor/");

// As Lucide names them.
const ICONS = [
  "activity", "arrow-left-right", "ban", "chart-no-axes-combined", "check", "chevron-right", "circle-dashed",
  "circle-help", "clock", "copy", "cpu", "external-link", "file-text", "hourglass", "key-round", "layers",
  "list-checks", "loader-circle", "log-in", "log-out", "moon", "pause", "rotate-cw", "scroll-text", "search", "send",
  "shield-check", "sun", "sun-moon", "triangle-alert", "undo-2", "x", "zap-off", "equal-not", "user-round", "timer",
  "download", "trash-2",
];

await rm(vendor, { recursive: true, force: true });
await mkdir(new URL("licences/", vendor), { recursive: true });
await mkdir(tests, { recursive: true });

await build({
  absWorkingDir: here.pathname,
  bundle: true,
  entryPoints: ["charts.js", "jose.js"],
  format: "esm",
  legalComments: "eof",
  minify: true,
  outdir: vendor.pathname,
  target: "es2022",
});

const morph = await readFile(at("node_modules/idiomorph/dist/idiomorph.esm.js"), "utf8");
await writeFile(new URL("idiomorph.js", vendor), morph);

const fonts = { inter: "inter-latin-wght-normal", "jetbrains-mono": "jetbrains-mono-latin-wght-normal" };
for (const [name, file] of Object.entries(fonts))
  await copyFile(at(`node_modules/@fontsource-variable/${name}/files/${file}.woff2`), new URL(`${name}.woff2`, vendor));

const symbols = await Promise.all(
  ICONS.map(async (name) => {
    const svg = await readFile(at(`node_modules/lucide-static/icons/${name}.svg`), "utf8");
    const shapes = svg.slice(svg.indexOf(">", svg.indexOf("<svg")) + 1, svg.lastIndexOf("</svg>")).replace(/\s+/g, " ");
    return `<symbol id="${name}" viewBox="0 0 24 24">${shapes.trim()}</symbol>`;
  }),
);
await writeFile(
  new URL("icons.svg", vendor),
  `<svg xmlns="http://www.w3.org/2000/svg">\n${symbols.join("\n")}\n</svg>\n`,
);

await copyFile(at("node_modules/axe-core/axe.min.js"), new URL("axe.min.js", tests));
await copyFile(at("node_modules/axe-core/LICENSE"), new URL("axe-core.LICENSE.txt", tests));

const { devDependencies } = JSON.parse(await readFile(at("package.json"), "utf8"));
const licences = {
  "@fontsource-variable/inter": "LICENSE",
  "@fontsource-variable/jetbrains-mono": "LICENSE",
  "@kurkle/color": "LICENSE.md",
  "chart.js": "LICENSE.md",
  "chartjs-chart-error-bars": "LICENSE",
  idiomorph: "LICENSE",
  jose: "LICENSE.md",
  "lucide-static": "LICENSE",
};
const lines = [];
for (const [name, file] of Object.entries(licences)) {
  const plain = name.replace("@", "").replace("/", "-");
  await copyFile(at(`node_modules/${name}/${file}`), new URL(`licences/${plain}.txt`, vendor));
  const { license, version } = JSON.parse(await readFile(at(`node_modules/${name}/package.json`), "utf8"));
  lines.push(`${name} ${devDependencies[name] ?? version} (${license}): licences/${plain}.txt`);
}
await writeFile(
  new URL("README.txt", vendor),
  `Written by \`make vendor\` from packages of npm; do not edit.\n\n${lines.join("\n")}\n`,
);
