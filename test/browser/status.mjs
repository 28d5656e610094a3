// Looks at the manager's status page as people do: wide and on a phone, light and
// dark, with and without scripts, while it changes and while the manager is gone.
//
//   node status.mjs --url=http://127.0.0.1:10121 [--expect=TEXT]… [--changing-mode] [--pictures=DIR]
//
// Every TEXT has to be on the page, as text; a changing mode (live, dry run) has
// to be followed. Pictures are written to DIR
// (build/browser). The last line is "N passed, N failed".
import { mkdir } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import path from 'node:path';
import { withChromium } from './chromium.mjs';

const root = path.join(path.dirname(fileURLToPath(import.meta.url)), '..', '..');
const { values: args } = parseArgs({
  options: {
    url: { type: 'string' }, expect: { type: 'string', multiple: true, default: [] },
    'changing-mode': { type: 'boolean', default: false },
    pictures: { type: 'string', default: path.join(root, 'build', 'browser') },
  },
});
if (!args.url) {
  console.error('status.mjs: --url=URL is missing');
  process.exit(2);
}

let passed = 0;
let failed = 0;
const check = (what, ok, seen = '') => {
  if (ok) {
    passed++;
    return;
  }
  failed++;
  console.log(`  FAILED ${what}${seen === '' ? '' : `: ${JSON.stringify(seen)}`}`);
};

/** open shows the page in a tab of its own; troubles is what went wrong in it. */
async function open(browser, { width, scheme, scripts = true }) {
  const tab = await browser.newPage();
  const troubles = [];
  tab.on('console', (m) => ['error', 'warn'].includes(m.type()) && troubles.push(`console ${m.type()}: ${m.text()}`));
  tab.on('pageerror', (err) => troubles.push(`page error: ${err}`));
  tab.on('dialog', (d) => { troubles.push(`a dialog: ${d.message()}`); d.dismiss(); });
  tab.on('request', (r) => !r.url().startsWith(args.url) && !r.url().startsWith('data:') && troubles.push(`asked outside: ${r.url()}`));
  await tab.setJavaScriptEnabled(scripts);
  await tab.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: scheme }]);
  await tab.setViewport({ width, height: 900, isMobile: width < 500, hasTouch: width < 500 });
  await tab.goto(args.url);
  return { tab, troubles };
}

/** seen runs in the page. */
function seen() {
  const clear = (c) => c === 'rgba(0, 0, 0, 0)' || c === 'transparent';
  const luminance = (c) => {
    const [r, g, b] = c.match(/[\d.]+/g).map((v) => { const x = v / 255; return x <= 0.03928 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4; });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  // The worst contrast of any text with what lies behind it (WCAG 2, 1.4.3).
  let contrast = 21;
  let worst = '';
  for (const e of document.querySelectorAll('body *')) {
    const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim() !== '');
    if (!own || !e.checkVisibility() || ['SCRIPT', 'STYLE', 'NOSCRIPT'].includes(e.tagName)) continue;
    let behind = e;
    while (behind && clear(getComputedStyle(behind).backgroundColor)) behind = behind.parentElement;
    const [a, b] = [luminance(getComputedStyle(e).color), luminance(behind ? getComputedStyle(behind).backgroundColor : 'rgb(255,255,255)')];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < contrast) {
      contrast = ratio;
      worst = e.outerHTML.slice(0, 120);
    }
  }
  return {
    text: document.body.innerText, tick: document.getElementById('live').dataset.tick, background: getComputedStyle(document.body).backgroundColor,
    width: document.documentElement.scrollWidth, foreign: document.querySelectorAll('img, iframe, object, script[src], link[rel=stylesheet]').length,
    rows: document.querySelectorAll('tbody tr').length, contrast, worst,
  };
}

await mkdir(args.pictures, { recursive: true });
await withChromium(async (browser) => {
  const backgrounds = {};
  for (const scheme of ['light', 'dark']) {
    for (const [width, kind] of [[1280, ''], [360, '-phone']]) {
      const what = `${width} pixels, ${scheme}`;
      const { tab, troubles } = await open(browser, { width, scheme });
      const page = await tab.evaluate(seen);
      backgrounds[scheme] = page.background;
      check(`${what}: nothing to scroll sideways`, page.width <= width, page.width);
      check(`${what}: containers are there`, page.rows > 0, page.rows);
      check(`${what}: no element that loads anything`, page.foreign === 0, page.foreign);
      check(`${what}: everything can be read`, page.contrast >= 4.5, [page.contrast, page.worst]);
      for (const text of args.expect) {
        check(`${what}: it says ${text}`, page.text.includes(text), page.text.slice(0, 400));
      }
      await tab.screenshot({ path: path.join(args.pictures, `status${kind}${scheme === 'dark' ? '-dark' : ''}.png`), fullPage: width < 500 });
      check(`${what}: no trouble`, troubles.length === 0, troubles);
      await tab.close();
    }
  }
  check('light and dark differ', backgrounds.light !== backgrounds.dark, backgrounds);

  // Live: a new tick shows without the page being loaded again, and what was
  // opened stays open.
  const { tab, troubles } = await open(browser, { width: 1280, scheme: 'light' });
  const before = await tab.evaluate(seen);
  await tab.evaluate(() => { window.same = true; document.querySelectorAll('details').forEach((d) => { d.open = true; }); });
  await tab.waitForFunction((tick) => document.getElementById('live').dataset.tick !== tick, { timeout: 30_000 }, before.tick).catch(() => {});
  const after = await tab.evaluate(() => ({ same: window.same, tick: document.getElementById('live').dataset.tick, open: [...document.querySelectorAll('details')].every((d) => d.open) }));
  check('a new tick shows by itself', after.same && Number(after.tick) > Number(before.tick), [before.tick, after]);
  check('what was opened stays open', after.open);
  if (args['changing-mode']) {
    const mode = (other) => document.getElementById('mode').textContent !== other && document.getElementById('mode').textContent;
    const first = await tab.evaluate(mode, '');
    check('another mode shows by itself', await tab.waitForFunction(mode, { timeout: 30_000 }, first).then(() => true, () => false), first);
  }
  check('live: no trouble', troubles.length === 0, troubles);

  // The manager goes away and comes back.
  const pill = () => tab.evaluate(() => { const e = document.getElementById('link'); return e.hidden ? '' : e.textContent; });
  await tab.setOfflineMode(true);
  await tab.waitForFunction(() => !document.getElementById('link').hidden, { timeout: 20_000 }).catch(() => {});
  check('it says that there is no connection', (await pill()) === 'no connection', await pill());
  check('and still shows the last tick', (await tab.evaluate(seen)).rows > 0);
  await tab.setOfflineMode(false);
  await tab.waitForFunction(() => document.getElementById('link').hidden, { timeout: 20_000 }).catch(() => {});
  check('it goes on when the manager is back', (await pill()) === '', await pill());
  await tab.close();

  const plain = await open(browser, { width: 1280, scheme: 'light', scripts: false });
  const page = await plain.tab.$eval('body', (b) => b.innerText);
  for (const text of ['Containers', 'Rules', 'Last kills', ...args.expect]) {
    check(`without scripts it says ${text}`, page.includes(text), page.slice(0, 400));
  }
  await plain.tab.close();
});
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed > 0 || passed === 0 ? 1 : 0;
