// What each panel has to show, by dashboard and title. The world of
// world_test.go has five residents (shop-…) and a generator at work.
const number = /^[\d.,]+$/, percent = /^[\d.]+%$/, percentAny = /^[\d.]+ ?%$/, seconds = /^[\d.]+ ?(ms|µs|s|mins?|hours?|days?)$/,
  bytes = /^[\d.]+ ?([KMGT]iB|B)$/, yes = /^Yes$/, no = /^No$/;
const kinds = ['cpu', 'ram', 'io', 'disk'];

export const wants = {
  overview: {
    Containers: { text: number }, High: { text: number }, Low: { text: number }, Managed: { text: number },
    'Removed in 1 h': { text: number, over: 0 }, 'Host CPU': { text: percentAny }, 'Host memory': { text: percentAny }, Alerts: { text: number, over: 0 },
    CPU: { legend: ['shop-web', 'shop-database'], marks: true, columns: ['Last *', 'Max'] }, Memory: { legend: ['shop-cache', 'shop-report'], marks: true, columns: ['Last *', 'Max'] },
    'Containers now': {
      headers: ['Name', 'Id', 'Image', 'Class', 'Kind', 'Decision', 'Reason', 'Managed', 'Protected', 'CPU', 'Memory', 'Memory %', 'Disk', 'I/O', 'Network', 'Age'],
      rows: {
        'shop-web': { Class: 'high', Managed: '–', Protected: '–', CPU: percent, Memory: bytes, Age: seconds },
        'shop-database': { Class: 'high', Kind: 'io', Protected: 'yes', 'I/O': /^\d+\.\d ops\/s$/, Decision: 'spare', Reason: /^[a-z_]+$/ },
        'shop-import': { Image: 'shop/import', Managed: '–' },
        'shop-cache': { Class: 'high', Kind: 'ram', 'Memory %': percent },
        'shop-report': { Managed: 'yes', Kind: 'ram', Protected: 'yes' },
      },
      each: { Id: /^[0-9a-f]{12}$/, Name: /\S/, Class: /^(high|low|–)$/, Kind: /^(cpu|ram|io|disk|–)$/, Memory: bytes, CPU: /^(\d+\.\d\d%|–)$/, Decision: /^(spare|kill|–)$/ },
      links: { Name: 'Id' }, falling: 'CPU',
    },
    Disk: { legend: [/^(disk|io)-high-|^shop-database$/] }, 'I/O activity': { legend: [/^io-high-|^shop-database$/] }, Network: { legend: [/\S/] },
    'Containers by kind': { legend: kinds }, 'Containers by class': { legend: ['high', 'low'] },
    'Alerts that fire': {
      headers: ['Alert', 'Severity', 'About', 'Container', 'Kind', 'Rule', 'Active for'],
      each: { Alert: /^Estiba\w+$/, Severity: /^(critical|warning|info)$/, 'Active for': seconds },
      severe: 'Severity',
      rows: { EstibaContainerOOMKilled: { Severity: 'warning', Container: 'shop-import' }, EstibaContainerKilled: { Severity: 'info', Kind: /^(cpu|ram|io|disk)$/, Rule: 'surplus' } },
    },
  },
  container: {
    Class: { text: /^high$/ }, 'Kind/stat': { text: /^ram$/ }, Image: { text: /^estiba\/stress$/ }, Age: { text: seconds }, 'Memory of limit': { text: /^9\d(\.\d)?%$/ },
    'OOM kills': { text: /^(\d+|not known)$/ }, CPU: { legend: ['user', 'system'] }, Memory: { legend: ['resident', 'limit'] },
    Disk: { legend: ['read', 'written'] }, 'I/O calls': { legend: ['reads', 'writes'] }, Network: { legend: ['received', 'sent'] },
    'Processes and threads': { legend: ['processes', 'threads'] }, 'Kind/timeseries': { legend: ['ram'] },
  },
  // shop-web: it has no limit, declares no kind, and does too little to be of one.
  unlimited: {
    Class: { text: /^high$/ }, 'Kind/stat': { text: /^none$/ }, Image: { text: /^estiba\/stress$/ }, Age: { text: seconds }, 'Memory of limit': { text: /^no limit$/ },
    'OOM kills': { text: /^(0|not known)$/ }, CPU: { legend: ['user', 'system'] }, Memory: { legend: ['resident'] },
    Disk: { legend: ['read', 'written'] }, 'I/O calls': { legend: ['reads', 'writes'] }, Network: { legend: ['received', 'sent'] },
    'Processes and threads': { legend: ['processes', 'threads'] }, 'Kind/timeseries': { legend: ['cpu'] },
  },
  manager: {
    'Last decision': { text: seconds }, 'Age of data': { text: seconds }, 'Removed, last hour': { text: number, over: 0 }, 'Failed, last hour': { text: number },
    'Budget left': { text: number }, 'Dry run': { text: no }, 'Policy ok': { text: yes },
    Removed: { legend: kinds, marks: true }, Spared: { legend: [/^[a-z_]+$/] }, 'Containers in scope': { legend: kinds }, Ticks: { legend: ['ok'] },
    Outcomes: { legend: ['done'] }, 'Time to decide': { legend: ['mean'] }, 'Time to remove': { legend: ['mean'] },
    'Last removals': {
      headers: ['Container', 'Id', 'Kind', 'Rule', 'Mode', 'Outcome', 'Kill id', 'When'],
      each: { Id: /^[0-9a-f]{12}$/, Kind: /^(cpu|ram|io|disk)$/, Rule: 'surplus', Mode: 'live', Outcome: /^[a-z_]+$/, When: /ago$/ },
    },
    Protected: {
      headers: ['Container', 'Id', 'Why'],
      rows: { 'shop-database': { Why: 'label' }, 'shop-report': { Why: /^label/ } },
    },
  },
  stack: {
    'Parts that answer': { text: /^100%$/ }, 'Sources that work': { text: /^100%$/ }, 'Rules that failed': { text: /^0$/ }, 'Messages that failed': { text: /^0$/ },
    Series: { text: /^[\d.]+ ?K?$/ }, 'History on disk': { text: bytes },
    'Scrape duration': { legend: [/^estiba /, /^estiba-manager /, /^prometheus /, /^alertmanager /] }, 'Samples a scrape': { legend: [/^estiba /] },
    'CPU of the parts': { legend: [/^estiba /] }, 'Memory of the parts': { legend: [/^estiba /] },
    'Rule evaluation': { legend: [/^estiba/] }, Exporter: { legend: [/^collect /, /^scrape /] },
    Exporters: {
      headers: ['Exporter', 'Source', 'Release', 'Containers', 'Without a name', 'Docker', 'Module'],
      each: { Exporter: /:\d+$/, Source: /^(kmod|cgroup)$/, Containers: number, Docker: 'On', Module: /^(On|Off)$/ },
    },
  },
};

const says = (want, text) => (want instanceof RegExp ? want.test(text) : want === text);

/** check yields [what was looked at, the fault or nothing] for all that was seen of one dashboard. */
export function* check(name, width, seen) {
  yield ['the page', seen.failed];
  if (seen.failed) return;
  yield ['hosts', seen.panels.some((p) => p.headers?.includes('Host')) && 'a table has a column Host, and there is one host without a name'];
  yield ['the console', seen.troubles[0]];
  yield ['the width', seen.width > width && `the page is ${seen.width} pixels wide`];
  for (const [variable, { text, value, of }] of Object.entries(seen.chosen)) {
    yield [`$${variable}`, (!value && 'nothing could be chosen') || (text !== 'All' && of < 4 && `only ${of} choices`)];
  }
  const left = new Set(Object.keys(wants[name]));
  for (const panel of seen.panels) {
    const key = [panel.title, `${panel.title}/${panel.type}`].find((k) => left.delete(k));
    if (!key) {
      yield [panel.title, 'nothing is said in checks.mjs of this panel'];
      continue;
    }
    for (const [what, fault] of checkPanel(wants[name][key], panel)) {
      yield [`${panel.title}${what}`, fault];
    }
  }
  yield ['all panels', left.size > 0 && `not there: ${[...left]}`];
}

/** checkNothing is check for a healthy system in which no container runs: every panel has words or numbers. */
export function* checkNothing(width, seen) {
  yield ['the page', seen.failed];
  if (seen.failed) return;
  yield ['the console', seen.troubles[0]];
  yield ['the width', seen.width > width && `the page is ${seen.width} pixels wide`];
  for (const panel of seen.panels) {
    yield [panel.title, panel.error || (/no data|NaN|undefined|\bnull\b/i.test(panel.text) && `shows ${panel.text}`)];
    yield [`${panel.title} says something`, panel.type !== 'timeseries' && !/[\p{L}\d]/u.test(panel.text) && 'shows nothing'];
    if (panel.type === 'table') yield [`${panel.title} rows`, !panel.nothing && panel.rows.length === 0 && 'there are none'];
  }
}

/**
 * checkFleet is check for a dashboard of which hosts are chosen, out of that many: it
 * shows each of them and no other.
 */
export function* checkFleet(name, width, seen, hosts, of) {
  yield ['the page', seen.failed];
  if (seen.failed) return;
  yield ['the console', seen.troubles[0]];
  yield ['the width', seen.width > width && `the page is ${seen.width} pixels wide`];
  const { text, of: there } = seen.chosen.host;
  yield ['$host', (there !== of && `has ${there} hosts of ${of}`) || (text !== 'All' && text !== hosts.join(' + ') && `shows ${text}`)];
  const only = (found) => found.some((h) => !hosts.includes(h)) || hosts.some((h) => !found.includes(h));
  for (const panel of seen.panels) {
    yield [panel.title, panel.error || (/no data|NaN|undefined|\bnull\b/i.test(panel.text) && `shows ${panel.text}`)];
    if (['CPU', 'Memory'].includes(panel.title) && panel.type === 'timeseries') {
      const found = panel.legend.map((l) => l.split('/')[0]);
      yield [`${panel.title} hosts`, only(found) && `are ${found}`];
    }
    if (['Containers now', 'Exporters'].includes(panel.title)) {
      const column = panel.headers.indexOf('Host');
      const found = panel.rows.map((r) => r[column]?.text);
      yield [`${panel.title} hosts`, only(found) && `are ${found}`];
      const link = panel.title === 'Exporters' && panel.rows.find((r) => !r[column]?.href?.includes(`var-host=${r[column]?.text}`));
      yield [`${panel.title} links`, link && `lead to ${link[column]?.href}`];
    }
  }
  yield ['what tells hosts apart', !seen.panels.some((p) => ['Containers now', 'Exporters'].includes(p.title)) && `is not on ${name}`];
}

function* checkPanel(want, panel) {
  yield ['', panel.error || (panel.nothing && `shows "${panel.nothing}"`) || (/no data|NaN|undefined|\bnull\b/i.test(panel.text) && `shows ${panel.text}`)];
  if (panel.error) return;
  const text = panel.text.replace(/\s*\n\s*/g, '').replace(/\u00a0/g, ' ');
  if (want.text) yield [' value', !want.text.test(text) && `"${text}" is not like ${want.text}`];
  if (want.over !== undefined) yield [' amount', !(parseFloat(text) > want.over) && `${text} is not over ${want.over}`];
  if (panel.type === 'timeseries') yield* checkGraph(want, panel);
  if (panel.type === 'table') yield* checkTable(want, panel);
}

function* checkGraph(want, { legend, marks, colors, text }) {
  for (const name of want.legend) {
    yield [` legend ${name}`, !legend.some((l) => says(name, l)) && `has only ${legend.join(', ')}`];
  }
  yield [' ground', legend.some((l) => l === 'no container seen' || l === 'none') && `names what is not there: ${legend.join(', ')}`];
  yield [' names', legend.some((l) => l === '' || l === 'Value' || /[{}=]/.test(l)) && `a line has no name: ${legend.join(', ')}`];
  yield [' picture', colors < 5 && `only ${colors} colours are painted`];
  if (want.columns) yield [' legend columns', !want.columns.every((c) => text.includes(c)) && `not all of ${want.columns}`];
  if (want.marks) yield [' marks', marks === 0 && 'no removal is marked'];
}

function* checkTable(want, { headers, rows }) {
  yield [' heads', want.headers.some((h) => !headers.includes(h)) && `are ${headers.join(', ')}`];
  yield [' rows', rows.length === 0 && 'there are none'];
  const at = (row, column) => row[headers.indexOf(column)];
  const fault = (row, column, like) => {
    const cell = at(row, column);
    return !cell ? `no column ${column}` : !says(like, cell.text) && `${column} of ${row[0].text} is "${cell.text}", not ${like}`;
  };
  for (const [column, like] of Object.entries(want.each ?? {})) {
    yield [` ${column}`, rows.map((r) => fault(r, column, like)).find(Boolean)];
  }
  for (const [first, cells] of Object.entries(want.rows ?? {})) {
    const row = rows.find((r) => r[0].text === first);
    yield [` ${first}`, row ? Object.entries(cells).map(([c, like]) => fault(row, c, like)).find(Boolean) : 'has no row'];
  }
  for (const [column, id] of Object.entries(want.links ?? {})) {
    const broken = rows.find((r) => !at(r, column)?.href?.includes(`var-id=${at(r, id)?.text}`));
    yield [` links of ${column}`, broken && `${at(broken, column)?.text} leads to ${at(broken, column)?.href}`];
  }
  if (want.severe) {
    const order = rows.map((r) => ['critical', 'warning', 'info'].indexOf(at(r, want.severe)?.text));
    yield [` order of ${want.severe}`, order.some((v, i) => i > 0 && v < order[i - 1]) && `is ${rows.map((r) => at(r, want.severe)?.text)}`];
  }
  const bare = rows.flat().find((c) => c.text === '');
  yield [' cells', bare && `one is empty, on ${bare.color}`];
  if (want.falling) {
    const values = rows.map((r) => parseFloat(at(r, want.falling)?.text)).filter((v) => !Number.isNaN(v));
    yield [` order of ${want.falling}`, values.some((v, i) => i > 0 && v > values[i - 1]) && `is ${values}`];
  }
}
