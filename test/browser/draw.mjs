// Draws every dashboard from a running Prometheus and looks at every panel.
//
//   node draw.mjs --prometheus=http://127.0.0.1:9090 [--since=2026-01-02T03:04:05Z] [--to=…] [--pictures=DIR] [--only=overview] [--nothing | --fleet=box1,box2 --of=3]
//
// --nothing says that no container runs. Pictures are then in DIR/nothing. --fleet
// chooses hosts of so many on Fleet, Overview and Stack. Pictures are then in DIR/fleet.
// Pictures are written to DIR (build/browser). The last line is "N passed, N failed".
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import path from 'node:path';
import { bundle } from './bundle.mjs';
import { withChromium } from './chromium.mjs';
import { look } from './look.mjs';

const here = path.dirname(fileURLToPath(import.meta.url));
const root = path.join(here, '..', '..');
const { values: args } = parseArgs({
  options: {
    prometheus: { type: 'string' }, since: { type: 'string' }, to: { type: 'string' }, only: { type: 'string' },
    pictures: { type: 'string', default: path.join(root, 'build', 'browser') },     nothing: { type: 'boolean', default: false }, fleet: { type: 'string' }, of: { type: 'string' },
  },
});
if (!args.prometheus) {
  console.error('draw.mjs: --prometheus=URL is missing');
  process.exit(2);
}
const icons = path.join(here, 'node_modules', '@grafana', 'ui', 'dist', 'public', 'img', 'icons');
// Grafana's own font. Its packages leave it out; Debian's fonts-inter has it.
const fonts = '/usr/share/fonts/opentype/inter';
const started = Date.now();
const say = (text) => console.log(`[${((Date.now() - started) / 1000).toFixed(0)} s] ${text}`);

const page = `<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,"><title>Estiba</title>
<link rel="stylesheet" href="/page.css"><style>body{margin:0;overflow-y:auto!important}</style>
<script>window.__grafana_public_path__='/public/'</script><div id="root"></div><script src="/page.js"></script>`;

/** serve answers the page, the dashboards' files, icons, and passes questions on to Prometheus. */
async function serve({ js, css }) {
  const types = { '.js': 'text/javascript', '.css': 'text/css', '.json': 'application/json', '.svg': 'image/svg+xml', '.woff2': 'font/otf' };
  const server = createServer(async (req, res) => {
    const { pathname } = new URL(req.url, 'http://page');
    const send = (body) => res.setHeader('Content-Type', types[path.extname(pathname)] ?? 'text/html').end(body);
    try {
      if (pathname === '/') send(page);
      else if (pathname === '/page.js') send(js);
      else if (pathname === '/page.css') send(css);
      else if (/^\/dashboards\/[a-z-]+\.json$/.test(pathname)) send(await readFile(path.join(root, 'grafana', pathname)));
      else if (/^\/public\/.*img\/icons\/[a-z0-9/_-]+\.svg$/i.test(pathname)) send(await readFile(path.join(icons, pathname.split('/img/icons/')[1])));
      else if (/^\/public\/fonts\/inter\/Inter-[A-Za-z]+\.woff2$/.test(pathname)) send(await readFile(path.join(fonts, path.basename(pathname, '.woff2') + '.otf')));
      else if (pathname.startsWith('/api/v1/')) {
        const body = await new Response(req).text();
        const answer = await fetch(args.prometheus + pathname, { method: 'POST', body, headers: { 'Content-Type': 'application/x-www-form-urlencoded' } });
        res.statusCode = answer.status;
        res.setHeader('Content-Type', 'application/json').end(await answer.text());
      } else {
        res.statusCode = 404;
        res.end(`nothing at ${pathname}`);
      }
    } catch (err) {
      res.statusCode = 500;
      res.end(String(err));
    }
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  return { server, url: `http://127.0.0.1:${server.address().port}` };
}

// Said while the bundle is read, by parts of @grafana/ui that are not drawn here.
const harmless = /^t\(\) was called before i18n was initialized/;

/** tablesAreThere runs in the page. */
function tablesAreThere() {
  return window.drawn.failed || window.drawn.panels.filter((p) => p.panel.type === 'table' && !p.error).every(({ panel }) => {
    const box = document.querySelector(`[data-panel="${panel.id}"]`);
    return box.querySelector('[role="gridcell"], [data-nothing]');
  });
}

/** firstRow runs in the page and returns where its first row begins: above is what Grafana shows at first. */
function firstRow() {
  const row = window.drawn.panels?.find((p) => p.panel.type === 'row');
  return row && Math.floor(document.querySelector(`[data-panel="${row.panel.id}"]`).getBoundingClientRect().top);
}

/** draw opens one dashboard with choices made, keeps its picture, and one of what is above the rows, and returns what the page drew. */
async function draw(browser, url, dashboard, choices, width, picture) {
  const tab = await browser.newPage();
  const troubles = [];
  tab.on('console', (m) => ['error', 'warn'].includes(m.type()) && !harmless.test(m.text()) && troubles.push(`console ${m.type()}: ${m.text()} ${m.location().url ?? ''}`));
  tab.on('pageerror', (err) => troubles.push(`page error: ${err}`));
  tab.on('requestfailed', (r) => troubles.push(`request failed: ${r.url()}`));
  await tab.setViewport({ width, height: 1000 });
  const to = args.to ? Date.parse(args.to) : Date.now();
  const from = args.since ? Date.parse(args.since) : to - 15 * 60 * 1000;
  const query = new URLSearchParams([['dashboard', dashboard], ['from', from], ['to', to], ...choices]);
  await tab.goto(`${url}/?${query}`);
  await tab.waitForFunction('window.drawn', { timeout: 60_000 });
  await tab.waitForNetworkIdle({ idleTime: 500 });
  const height = await tab.evaluate('document.documentElement.scrollHeight');
  await tab.setViewport({ width, height });
  await tab.waitForFunction(tablesAreThere, { timeout: 20_000 }).catch(() => troubles.push('a table shows no row within 20 s'));
  await new Promise((resolve) => setTimeout(resolve, 1000)); // canvases are drawn in animation frames
  await tab.screenshot({ path: picture, captureBeyondViewport: false });
  const top = await tab.evaluate(firstRow);
  if (top) await tab.screenshot({ path: picture.replace(/\.png$/, '-top.png'), captureBeyondViewport: false, clip: { x: 0, y: 0, width, height: top } });
  const seen = await tab.evaluate(look);
  await tab.close();
  return { ...seen, troubles };
}

const { check, checkNothing, checkFleet } = await import('./checks.mjs');
const wide = 1600, phone = 390;
/** views are what is drawn: a dashboard, its file's name, the choices made, and what it is checked by. */
function views() {
  const one = ['var-id', 'shop-cache'];
  if (args.fleet) {
    const hosts = args.fleet.split(','), chosen = hosts.map((h) => ['var-host', h]);
    const shows = (name) => (width, seen) => checkFleet(name, width, seen, hosts, Number(args.of));
    const some = hosts.length < Number(args.of);
    return ['fleet', 'overview', 'stack'].map((name) => ({
      name, file: some ? `${name}-chosen` : name, choices: some ? chosen : [], widths: [wide], judge: shows(name),
    }));
  }
  const all = ['fleet', 'overview', 'container', 'manager', 'stack'].map((name) => ({
    name, file: name, choices: [one], widths: [wide, phone], judge: (width, seen) => (args.nothing ? checkNothing(width, seen) : check(name, width, seen)),
  }));
  if (!args.nothing) {
    all.push({ name: 'container', file: 'unlimited', choices: [['var-id', 'shop-web']], widths: [wide], judge: (width, seen) => check('unlimited', width, seen) });
  }
  return all;
}

if (args.nothing) args.pictures = path.join(args.pictures, 'nothing');
if (args.fleet) args.pictures = path.join(args.pictures, 'fleet');
await mkdir(args.pictures, { recursive: true });
say('bundling the page');
const { server, url } = await serve(await bundle());
let passed = 0;
const failures = [];
say('starting Chromium');
await withChromium(async (browser) => {
  for (const view of views().filter((v) => !args.only || v.file === args.only)) {
    for (const width of view.widths) {
      say(`drawing ${view.file}, ${width} pixels wide`);
      const file = path.join(args.pictures, width === phone ? `${view.file}-phone` : view.file);
      const seen = await draw(browser, url, `estiba-${view.name}`, view.choices, width, `${file}.png`);
      await writeFile(`${file}.json`, JSON.stringify(seen, null, 1));
      for (const [what, fault] of view.judge(width, seen)) {
        if (fault) {
          failures.push(`${view.file} at ${width}: ${what}: ${fault}`);
          console.log(`  FAILED ${what}: ${fault}`);
        } else {
          passed++;
        }
      }
    }
  }
}).finally(() => server.close());
console.log(`${passed} passed, ${failures.length} failed`);
process.exitCode = failures.length > 0 || passed === 0 ? 1 : 0;
