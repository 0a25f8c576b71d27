// Copies what the page imports from npm into static/vendor/: livekit-client's own ESM build, which
// imports nothing further, and its licence. Nothing is bundled or changed but the link to a source
// map that is not shipped. Run after `npm ci` (`npm run vendor`).
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
const source = join(here, 'node_modules', 'livekit-client');
const target = join(here, 'static', 'vendor');

const { version, module } = JSON.parse(await readFile(join(source, 'package.json'), 'utf8'));
const code = await readFile(join(source, module), 'utf8');
if (/(^|[;}])(import|export)\s*[\w{},*\s]*(from\s*)?["']/m.test(code)) {
  throw new Error(`livekit-client ${version}: its ESM build imports other modules; vendor them too`);
}
await mkdir(target, { recursive: true });
await writeFile(
  join(target, 'livekit-client.js'),
  code.replace(/\/\/# sourceMappingURL=\S+\s*$/, `\n// livekit-client ${version}\n`),
);
await writeFile(join(target, 'livekit-client.LICENSE.txt'), await readFile(join(source, 'LICENSE')));
console.log(`livekit-client ${version} -> static/vendor/livekit-client.js`);
