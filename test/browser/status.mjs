// Looks at the manager's status page as people do: wide and on a phone, light and
// dark, with and without scripts, with the keyboard and with axe-core, while it changes,
// and while the manager or Prometheus is gone.
//
//   node status.mjs --url=http://127.0.0.1:10121 [--rows=N] [--expect=TEXT]…
//     [--changing-mode] [--lose-prometheus] [--documents] [--pictures=DIR]
//
// Every TEXT has to be on the page, as text; a changing mode (live, dry run) has
// to be followed. Pictures are written to DIR (build/browser). The last line is
// "N passed, N failed".
import { mkdir, readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import path from 'node:path';
import { withChromium } from './chromium.mjs';

const root = path.join(path.dirname(fileURLToPath(import.meta.url)), '..', '..');
const { values: args } = parseArgs({
  options: {
    url: { type: 'string' }, rows: { type: 'string' }, expect: { type: 'string', multiple: true, default: [] },
    'changing-mode': { type: 'boolean', default: false }, 'lose-prometheus': { type: 'boolean', default: false }, documents: { type: 'boolean', default: false },
    pictures: { type: 'string', default: path.join(root, 'build', 'browser') },
  },
});
if (!args.url) {
  console.error('status.mjs: --url=URL is missing');
  process.exit(2);
}
const axe = await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

let passed = 0;
let failed = 0;
const axeTotal = { violations: 0, incomplete: 0, passes: 0, pages: 0 };
const check = (what, ok, seen = '') => {
  if (ok) {
    passed++;
    return;
  }
  failed++;
  console.log(`  FAILED ${what}${seen === '' ? '' : `: ${JSON.stringify(seen)}`}`);
};

/** open shows the page in a tab of its own; troubles is what went wrong in it. */
async function open(browser, { width, scheme = 'light', scripts = true, at = '/' }) {
  const tab = await browser.newPage();
  const troubles = [];
  tab.on('console', (m) => ['error', 'warn'].includes(m.type()) && troubles.push(`console ${m.type()}: ${m.text()}`));
  tab.on('pageerror', (err) => troubles.push(`page error: ${err}`));
  tab.on('dialog', (d) => { troubles.push(`a dialog: ${d.message()}`); d.dismiss(); });
  tab.on('request', (r) => !r.url().startsWith(args.url) && !r.url().startsWith('data:') && troubles.push(`asked outside: ${r.url()}`));
  await tab.setJavaScriptEnabled(scripts);
  await tab.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: scheme }]);
  await tab.setViewport({ width, height: 900, isMobile: width < 500, hasTouch: width < 500 });
  await tab.goto(args.url + at);
  return { tab, troubles };
}

/** seen runs in the page. */
function seen() {
  const rows = [...document.querySelectorAll('#containers tbody tr')];
  const clear = (c) => c === 'rgba(0, 0, 0, 0)' || c === 'transparent';
  const luminance = (c) => {
    const [r, g, b] = c.match(/[\d.]+/g).map((v) => { const x = v / 255; return x <= 0.03928 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4; });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  // The worst contrast of any text with what lies behind it (WCAG 2, 1.4.3), also where
  // axe does not look: in what is scrolled out of a box.
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
    contrast, worst,
    text: document.body.innerText, tick: document.getElementById('live')?.dataset.tick, background: getComputedStyle(document.body).backgroundColor,
    width: document.documentElement.scrollWidth, foreign: document.querySelectorAll('img, iframe, object, script[src], link[rel=stylesheet]').length,
    rows: rows.length, sparks: document.querySelectorAll('.spark').length, lines: document.querySelectorAll('.plot path.line').length,
    // A picture may move or a name may break out of its cell without text that says so.
    bold: document.querySelectorAll('#live th b, #live td b, #live td u, #live i').length,
    styled: document.querySelectorAll('[style]').length, head: document.querySelectorAll('#containers thead th[scope=col]').length,
    scoped: rows.every((r) => r.cells[0].scope === 'row'), captions: [...document.querySelectorAll('table')].every((t) => t.caption),
  };
}

/** accessible runs axe-core's rules for WCAG 2.2 A and AA, and its best practices. */
async function accessible(tab, what) {
  await tab.evaluate(axe);
  const result = await tab.evaluate(async () => {
    const r = await window.axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] });
    const short = (list) => list.map((v) => [v.id, v.impact, v.nodes.length, v.nodes[0].html.slice(0, 160), v.nodes[0].failureSummary?.slice(0, 200)]);
    // The contrast of what is scrolled out of a box is for seen() to decide.
    const hidden = (n) => n.any.length > 0 && n.any.every((c) => c.id === 'color-contrast' && /obscured|overlap/i.test(c.data?.messageKey ?? ''));
    for (const v of r.incomplete) v.nodes = v.nodes.filter((n) => !hidden(n));
    return { violations: short(r.violations), incomplete: short(r.incomplete.filter((v) => v.nodes.length > 0)), passes: r.passes.length };
  });
  axeTotal.violations += result.violations.length;
  axeTotal.incomplete += result.incomplete.length;
  axeTotal.passes += result.passes;
  axeTotal.pages++;
  check(`${what}: axe finds nothing`, result.violations.length === 0, result.violations);
  check(`${what}: nothing that axe cannot decide`, result.incomplete.length === 0, result.incomplete);
}

await mkdir(args.pictures, { recursive: true });
await withChromium(async (browser) => {
  const backgrounds = {};
  for (const scheme of ['light', 'dark']) {
    for (const [width, kind] of [[1280, ''], [360, '-phone']]) {
      const what = `${width} pixels, ${scheme}`;
      const { tab, troubles } = await open(browser, { width, scheme });
      // The links are found after the first page.
      await tab.waitForFunction(() => document.querySelectorAll('nav a').length > 1, { timeout: 10_000 }).catch(() => {});
      const page = await tab.evaluate(seen);
      backgrounds[scheme] = page.background;
      check(`${what}: nothing to scroll sideways`, page.width <= width, page.width);
      check(`${what}: containers are there`, args.rows ? page.rows === Number(args.rows) : page.rows > 0, page.rows);
      check(`${what}: no element that loads anything, and no markup from names`, page.foreign === 0 && page.bold === 0, [page.foreign, page.bold]);
      check(`${what}: tables have captions and heads`, page.captions && page.scoped && (page.rows === 0 || page.head === 7), page.head);
      check(`${what}: everything can be read`, page.contrast >= 4.5, [page.contrast, page.worst]);
      if (page.rows > 0) check(`${what}: graphs and sparklines are there`, page.lines >= 2 && page.sparks > 0, [page.lines, page.sparks]);
      for (const text of args.expect) {
        check(`${what}: it says ${text}`, page.text.includes(text), page.text.slice(0, 400));
      }
      await tab.screenshot({ path: path.join(args.pictures, `status${kind}${scheme === 'dark' ? '-dark' : ''}.png`), fullPage: width < 500 });
      await accessible(tab, what);
      check(`${what}: no trouble`, troubles.length === 0, troubles);
      await tab.close();
    }
  }
  check('light and dark differ', backgrounds.light !== backgrounds.dark, backgrounds);

  // Live: a new tick shows without the page being loaded again, and what was
  // opened, focused, selected and scrolled stays.
  const { tab, troubles } = await open(browser, { width: 1280 });
  const tick = () => tab.$eval('#live', (e) => Number(e.dataset.tick));
  const anotherTick = async () => {
    const before = await tick();
    return tab.waitForFunction((n) => Number(document.getElementById('live').dataset.tick) > n, { timeout: 30_000 }, before).then(() => true, () => false);
  };
  await tab.evaluate(() => {
    window.same = true;
    document.querySelectorAll('details').forEach((d) => { d.open = true; });
    const link = document.querySelector('#containers tbody a') ?? document.querySelector('summary');
    link?.focus();
    window.focused = document.activeElement;
    const name = document.querySelector('#kills .name bdi') ?? document.querySelector('summary strong');
    if (name) getSelection().selectAllChildren(name);
    window.selected = String(getSelection());
    const box = document.querySelector('.scroll');
    if (box) box.scrollTop = 120;
    window.scrolled = box?.scrollTop;
    scrollTo(0, 200);
    window.y = scrollY;
  });
  check('a new tick shows by itself', await anotherTick() && await anotherTick());
  // Where containers come and go, a table that got shorter cannot stay scrolled as far.
  const after = await tab.evaluate((steady) => ({
    same: window.same, open: [...document.querySelectorAll('details')].every((d) => d.open), focus: document.activeElement === window.focused,
    selection: String(getSelection()) === window.selected,
    box: document.querySelector('.scroll')?.scrollTop === window.scrolled || !steady && document.querySelector('.scroll').scrollTop < window.scrolled,
    page: scrollY === window.y || !steady && scrollY < window.y,
  }), Boolean(args.rows));
  check('the page is not loaded again, and opened, focus, selection and scrolling stay', Object.values(after).every(Boolean), after);
  if (args['changing-mode']) {
    const mode = (other) => document.getElementById('mode').textContent !== other && document.getElementById('mode').textContent;
    const first = await tab.evaluate(mode, '');
    check('another mode shows by itself', await tab.waitForFunction(mode, { timeout: 30_000 }, first).then(() => true, () => false), first);
  }

  // Times are local, with UTC on hover.
  const time = await tab.$eval('.facts time', (t) => [t.textContent, t.title]);
  check('times are local, UTC is in the title', /^\d\d:\d\d:\d\d$/.test(time[0]) && /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC$/.test(time[1]), time);

  const rows = (await tab.evaluate(seen)).rows;
  // With the number of rows the world is one in which no container comes or goes.
  if (args.rows && rows > 1) {
    // Sorting, by the script and by the server alike, and after a tick.
    // In one step: $$eval collects the rows before it reads them, and a tick may sort between.
    const names = () => tab.evaluate(() => [...document.querySelectorAll('#containers tbody tr:not([hidden]) .name')].map((e) => e.textContent));
    const cpu = () => tab.evaluate(() => [...document.querySelectorAll('#containers tbody tr')].map((r) => Number(r.cells[3].dataset.v)));
    const falls = (list) => list.every((v, i) => i === 0 || list[i - 1] >= v);
    const decided = await names();
    await tab.click('#containers th[data-key=cpu] a');
    check('a click on a head sorts', falls(await cpu()), (await cpu()).slice(0, 8));
    await anotherTick();
    check('the next tick keeps it', falls(await cpu()) && (await tab.$eval('#containers th[data-key=cpu]', (h) => h.ariaSort)) === 'descending');
    await tab.click('#containers th[data-key=name] a');
    await anotherTick();
    const byName = await names();
    check('names sort upwards', byName.every((n, i) => i === 0 || byName[i - 1].toLowerCase() <= n.toLowerCase()), byName.slice(0, 5));
    const served = await open(browser, { width: 1280, scripts: false, at: '/?sort=name&order=asc' });
    check('the server sorts alike', JSON.stringify(await served.tab.$$eval('#containers tbody tr .name', (all) => all.map((e) => e.textContent))) === JSON.stringify(byName));
    await served.tab.close();
    await tab.click('#containers th[data-key=name] a');
    await anotherTick();
    await tab.click('#containers th[data-key=name] a');
    await anotherTick();
    check('the third click returns to the order of the decisions', JSON.stringify(await names()) === JSON.stringify(decided));

    // Filters, kept over a tick.
    const wanted = decided.at(-1).slice(0, 60);
    await tab.type('#filter input[type=search]', wanted);
    const left = await names();
    check('the filter leaves what matches', left.length >= 1 && left.length < rows && left.every((n) => n.includes(wanted)), left);
    await anotherTick();
    check('the next tick keeps filter and focus', JSON.stringify(await names()) === JSON.stringify(left) && (await tab.evaluate(() => document.activeElement.name)) === 'q');
    check('the number of rows is said', (await tab.$eval('#count', (e) => e.textContent)) === `${left.length} of ${rows}`);
    await tab.$eval('#filter input[type=search]', (e) => { e.value = ''; e.dispatchEvent(new Event('input', { bubbles: true })); });
    check('without a filter all are there', (await names()).length === rows);

    // Values of a graph below the pointer.
    await tab.evaluate(() => new Promise((done) => { scrollTo(0, 0); requestAnimationFrame(() => requestAnimationFrame(done)); }));
    const plot = await tab.$('.plot');
    const box = await plot.boundingBox();
    await tab.mouse.move(box.x + box.width * 0.8, box.y + box.height / 2);
    const tip = await tab.$eval('#tip', (e) => [e.hidden, e.innerText]);
    await anotherTick();
    check('also after a tick', !(await tab.$eval('#tip', (e) => e.hidden)));
    check('a graph shows its values', !tip[0] && /^\d\d:\d\d:\d\d/.test(tip[1]) && / %/.test(tip[1]), tip);
    await tab.screenshot({ path: path.join(args.pictures, 'status-pointer.png') });
    await tab.mouse.move(5, 5);
    check('and hides them again', await tab.$eval('#tip', (e) => e.hidden));
    // One colour by container in both graphs.
    const colours = await tab.evaluate(() => [...document.querySelectorAll('tr[data-values]')].map((r) => [r.querySelector('bdi').textContent, r.dataset.colour]));
    const by = new Map(colours);
    check('a container has one colour', colours.every(([n, c]) => by.get(n) === c) && new Set(by.values()).size === by.size, colours);
  }
  check('live: no trouble', troubles.length === 0, troubles);

  if (args['lose-prometheus'] && rows > 0) {
    await tab.evaluate(() => fetch('/test/lose-prometheus'));
    const said = () => document.body.innerText.includes('Prometheus does not answer');
    check('it says that Prometheus is gone', await tab.waitForFunction(said, { timeout: 30_000 }).then(() => true, () => false));
    await tab.screenshot({ path: path.join(args.pictures, 'status-no-prometheus.png') });
    await tab.evaluate(() => fetch('/test/find-prometheus'));
    check('and when it is back', await tab.waitForFunction(() => !document.body.innerText.includes('Prometheus does not answer'), { timeout: 30_000 }).then(() => true, () => false));
  }

  // The manager goes away and comes back.
  const pill = () => tab.$eval('#link', (e) => e.textContent);
  await tab.setOfflineMode(true);
  await tab.waitForFunction(() => document.getElementById('link').textContent, { timeout: 20_000 }).catch(() => {});
  check('it says that there is no connection', (await pill()) === 'no connection', await pill());
  check('and still shows the last tick', args.rows ? (await tab.evaluate(seen)).rows === rows : (await tab.evaluate(seen)).rows > 0);
  await tab.setOfflineMode(false);
  await tab.waitForFunction(() => !document.getElementById('link').textContent, { timeout: 20_000 }).catch(() => {});
  check('it goes on when the manager is back', (await pill()) === '', await pill());
  await tab.close();

  const plain = await open(browser, { width: 1280, scripts: false });
  const page = await plain.tab.evaluate(seen);
  for (const text of ['Containers', 'Rules', 'Last kills', 'UTC', ...args.expect]) {
    check(`without scripts it says ${text}`, page.text.includes(text), page.text.slice(0, 400));
  }
  if (rows > 0) {
    check('without scripts graphs have values', (await plain.tab.$$eval('rect.col title', (all) => all.at(-1).textContent)).includes('%'));
  }
  await plain.tab.close();

  // The documentation.
  for (const [at, text] of !args.documents ? [] : [['/docs/', 'Operate'], ['/docs/rules', 'Recorded series'], ['/runbooks/EstibaExporterDown', 'Mitigation']]) {
    for (const width of [1280, 360]) {
      const { tab, troubles } = await open(browser, { width, scheme: width < 500 ? 'dark' : 'light', at });
      const page = await tab.evaluate(seen);
      check(`${at}, ${width} pixels: it is there`, page.text.includes(text) && page.width <= width && page.contrast >= 4.5, [page.width, page.contrast, page.text.slice(0, 200)]);
      await accessible(tab, `${at}, ${width} pixels`);
      await tab.screenshot({ path: path.join(args.pictures, `${at.replaceAll('/', '-').slice(1)}${width}.png`) });
      check(`${at}, ${width} pixels: no trouble`, troubles.length === 0, troubles);
      await tab.close();
    }
  }
});
console.log(`axe-core: ${axeTotal.pages} pages, ${axeTotal.violations} violations, ${axeTotal.incomplete} undecided, ${axeTotal.passes} rules passed`);
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed > 0 || passed === 0 ? 1 : 0;
