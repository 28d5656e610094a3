// What each panel has to show, by dashboard and title. The world of
// world_test.go has five residents (shop-…) and a generator at work.
const number = /^[\d.,]+$/, percent = /^[\d.]+%$/, percentAny = /^[\d.]+ ?%$/, seconds = /^[\d.]+ ?(ms|µs|s|mins?|hours?|days?)$/,
  bytes = /^[\d.]+ ?([KMGT]iB|B)$/, yes = /^Yes$/, no = /^No$/;
const kinds = ['cpu', 'ram', 'io', 'disk'];

const alerts = {
  headers: ['Alert', 'Severity', 'Subject', 'Container', 'ID', 'Kind', 'Rule', 'Active for'],
  each: { Alert: /^Estiba\w+$/, Severity: /^(critical|warning|info)$/, 'Active for': seconds },
  severe: 'Severity',
  rows: { EstibaContainerOOMKilled: { Severity: 'warning', Container: 'shop-import' }, EstibaContainerKilled: { Severity: 'info', Kind: /^(cpu|ram|io|disk)$/, Rule: 'surplus' } },
};

// What is the same of every container on its dashboard.
const one = {
  Class: { text: /^high$/ }, Image: { text: /^estiba\/stress$/ }, Age: { text: seconds },
  State: { text: /^running$/ }, Health: { text: /^none$/ }, Restarts: { text: /^0$/ }, 'Last exit code': { text: /^none seen$/ },
  'Last decision': { text: /^(spare: [a-z_]+|unknown)$/ }, Alerts: { text: number }, CPU: { legend: ['user', 'system'] },
  Pressure: { legend: ['cpu', 'memory', 'io'], mayBeEmpty: true },
  'Firing alerts': { headers: ['Alert', 'Severity', 'Active for'] },
  'Asked for and from storage': { legend: ['read, asked for', 'written, storage'] },
  Disk: { legend: ['read', 'written'] }, 'I/O calls': { legend: ['reads', 'writes'] }, Network: { legend: ['received', 'sent'] },
  'Processes and threads': { legend: ['processes', 'threads'] },
};

export const wants = {
  fleet: {
    'Hosts/stat': { text: /^1$/ }, Down: { text: /^0$/ }, Containers: { text: number }, 'Kills (1 h)': { text: number, over: 0 },
    'Host CPU': { text: percentAny }, 'Host memory': { text: percentAny }, Critical: { text: number }, Warning: { text: number, over: 0 },
    'Hosts/table': {
      headers: ['Exporter', 'Up', 'Source', 'CPU', 'Memory', 'Cores', 'RAM', 'Containers', 'Kills (1 h)', 'Critical', 'Warning', 'Age'],
      each: { Exporter: /:\d+$/, Up: 'up', Source: /^(kmod|bpf|cgroup)$/, CPU: percentAny, Memory: percentAny, RAM: bytes, Containers: number, 'Kills (1 h)': number, Age: seconds },
    },
    'Busiest hosts': { legend: [/:\d+$/] }, 'Fullest hosts': { legend: [/:\d+$/] },
    'Most CPU': { headers: ['Name', 'ID', 'CPU'], each: { ID: /^[0-9a-f]{12}$/, CPU: percentAny }, links: { Name: 'ID' }, falling: 'CPU' },
    'Most memory': { headers: ['Name', 'ID', 'Memory'], rows: { 'shop-cache': { Memory: bytes } }, links: { Name: 'ID' } },
    'Firing alerts': { headers: ['Alert', 'Severity', 'Hosts', 'Alerts'], each: { Alert: /^Estiba\w+$/, Alerts: number }, severe: 'Severity' },
  },
  overview: {
    Containers: { text: number }, High: { text: number }, Low: { text: number }, 'Too young': { text: number },
    'Kills (1 h)': { text: number, over: 0 }, 'Host CPU': { text: percentAny }, 'Host memory': { text: percentAny }, Critical: { text: number }, Warning: { text: number, over: 0 },
    CPU: { legend: ['shop-web', 'shop-database'], marks: true, columns: ['Last', 'Max'] }, Memory: { legend: ['shop-cache', 'shop-report'], marks: true, columns: ['Last', 'Max'] },
    'Running containers': {
      headers: ['Name', 'ID', 'Class', 'Kind', 'Decision', 'Reason', 'CPU', 'Memory', 'Limit', 'Of limit', 'Disk', 'I/O', 'Age'],
      rows: {
        'shop-web': { Class: 'high', CPU: percent, Memory: bytes, Limit: '–', 'Of limit': '–', Age: seconds },
        'shop-database': { Class: 'high', Kind: 'io', 'I/O': /^\d+\.\d ops\/s$/, Decision: 'spare', Reason: /^[a-z_]+$/ },
        'shop-cache': { Class: 'high', Kind: 'ram', Limit: bytes, 'Of limit': /^9\d\.\d%$/ },
        'shop-report': { Kind: 'ram' },
      },
      each: { ID: /^[0-9a-f]{12}$/, Name: /\S/, Class: /^(high|low|–)$/, Kind: /^(cpu|ram|io|disk|–)$/, Memory: bytes, CPU: /^(\d+\.\d\d%|–)$/, Decision: /^(spare|kill|–)$/ },
      links: { Name: 'ID' }, falling: 'CPU',
    },
    'Firing alerts': alerts,
    'Host CPU by use': { legend: ['containers', 'other processes', 'host', 'all cores'] },
    'Host memory by use': { legend: ['containers', 'other processes', 'cache and kernel', 'free', 'total'] },
    Disk: { legend: [/^(disk|io)-high-|^shop-database$/] }, 'I/O calls': { legend: [/^io-high-|^shop-database$/] }, Network: { legend: [/\S/] },
    'Asked for and from storage': { legend: ['read, asked for', 'read, storage', 'written, asked for', 'written, storage'] },
    'Writable layers': { headers: ['Container', 'ID', 'Size'] },
    'CPU pressure': { legend: [/\S/], mayBeEmpty: true }, 'Memory pressure': { legend: [/\S/], mayBeEmpty: true }, 'I/O pressure': { legend: [/\S/], mayBeEmpty: true },
    Throttled: { legend: [/\S/], mayBeEmpty: true }, 'Throttled periods': { legend: [/\S/], mayBeEmpty: true },
    'In trouble': {
      headers: ['Name', 'ID', 'State', 'Restarts', 'Out of memory'],
      rows: { 'shop-mail': { Restarts: number }, 'shop-import': { State: 'running' } }, links: { Name: 'ID' },
    },
    'By compose project: CPU': { legend: ['shop'] }, 'By compose project: memory': { legend: ['shop'] },
    'By pod: CPU': { legend: [/\S/], mayBeEmpty: true }, 'By pod: memory': { legend: [/\S/], mayBeEmpty: true },
    'Containers by kind': { legend: kinds }, 'Containers by class': { legend: ['high', 'low'] },
    Labels: {
      headers: ['Name', 'ID', 'Image', 'Project', 'Namespace', 'Kind', 'Managed', 'Protected'],
      rows: {
        'shop-web': { Managed: '–', Protected: '–', Project: 'shop' }, 'shop-database': { Protected: 'yes' },
        'shop-import': { Image: 'shop/import', Managed: '–' }, 'shop-report': { Managed: 'yes', Protected: 'yes' },
      },
    },
  },
  container: {
    ...one, 'Kind/stat': { text: /^ram$/ }, 'Memory limit used': { text: /^9\d(\.\d)?%$/ }, 'OOM kills': { text: /^(\d+|unknown)$/ },
    'CPU limit used': { text: /^no limit$/ }, Memory: { legend: ['working set', 'resident', 'limit'] }, 'Kind/timeseries': { legend: ['ram'] },
  },
  // shop-web: it has no memory limit, declares no kind, and does too little to be of one.
  unlimited: {
    ...one, 'Kind/stat': { text: /^none$/ }, 'Memory limit used': { text: /^no limit$/ }, 'OOM kills': { text: /^(0|unknown)$/ },
    'CPU limit used': { text: percentAny }, CPU: { legend: ['user', 'system', 'limit'] }, Memory: { legend: ['resident'] }, 'Kind/timeseries': { legend: ['cpu'] },
  },
  manager: {
    'Last tick': { text: seconds }, 'Data age': { text: seconds }, 'Kills (1 h)': { text: number, over: 0 }, 'Failed kills (1 h)': { text: number },
    'Budget left': { text: number }, 'Dry run': { text: no }, 'Policy': { text: yes },
    Kills: { legend: kinds }, Spared: { legend: [/^[a-z_]+$/] }, 'Containers in scope': { legend: kinds }, Ticks: { legend: ['ok'] },
    'Kill outcomes': { legend: ['done'] }, 'Tick duration': { legend: ['mean'] }, 'Kill duration': { legend: ['mean'] },
    'Recent kills': {
      headers: ['Container', 'ID', 'Kind', 'Rule', 'Mode', 'Outcome', 'Kill ID', 'When'],
      each: { ID: /^[0-9a-f]{12}$/, Kind: /^(cpu|ram|io|disk)$/, Rule: 'surplus', Mode: 'live', Outcome: /^[a-z_]+$/, When: /ago$/ },
    },
    Protected: {
      headers: ['Container', 'ID', 'Why'],
      rows: { 'shop-database': { Why: 'label' }, 'shop-report': { Why: /^label/ } },
    },
  },
  stack: {
    'Targets up': { text: /^100%$/ }, 'Sources OK': { text: /^100%$/ }, 'Failed rules': { text: /^0$/ }, 'Failed notifications': { text: /^0$/ },
    Series: { text: /^[\d.]+ ?K?$/ }, 'Storage size': { text: bytes },
    'Scrape duration': { legend: [/^estiba /, /^estiba-manager /, /^prometheus /, /^alertmanager /] }, 'Samples per scrape': { legend: [/^estiba /] },
    'CPU by target': { legend: [/^estiba /] }, 'Memory by target': { legend: [/^estiba /] },
    'Rule evaluation': { legend: [/^estiba/] }, 'Exporter duration': { legend: [/^collect /, /^scrape /] },
    Exporters: {
      headers: ['Exporter', 'Source', 'Version', 'Containers', 'Unnamed', 'Unseen', 'Docker', 'Module'],
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
    yield [`$${variable}`, (!value && 'nothing could be chosen') || (variable === 'id' && of < 4 && `only ${of} choices`)];
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
    yield [panel.title, panel.error || (/no data|\b(NaN|undefined|null)\b/i.test(panel.text) && `shows ${panel.text}`)];
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
    yield [panel.title, panel.error || (/no data|\b(NaN|undefined|null)\b/i.test(panel.text) && `shows ${panel.text}`)];
    if (['CPU', 'Memory'].includes(panel.title) && panel.type === 'timeseries') {
      // The ten containers that use most: not every host need have one among them.
      const found = panel.legend.map((l) => l.split('/')[0]);
      yield [`${panel.title} hosts`, (found.length === 0 || found.some((h) => !hosts.includes(h))) && `are ${found}`];
    }
    if (['Running containers', 'Exporters'].includes(panel.title) || (panel.title === 'Hosts' && panel.type === 'table')) {
      const column = panel.headers.indexOf('Host');
      const found = panel.rows.map((r) => r[column]?.text);
      yield [`${panel.title} hosts`, only(found) && `are ${found}`];
      const link = panel.title !== 'Running containers' && panel.rows.find((r) => !r[column]?.href?.includes(`var-host=${r[column]?.text}`));
      yield [`${panel.title} links`, link && `lead to ${link[column]?.href}`];
    }
  }
  yield ['what distinguishes hosts', !seen.panels.some((p) => ['Running containers', 'Exporters', 'Hosts'].includes(p.title)) && `is not on ${name}`];
}

function* checkPanel(want, panel) {
  if (want.mayBeEmpty && panel.nothing && !panel.error) return; // in words of its own
  yield ['', panel.error || (panel.nothing && `shows "${panel.nothing}"`) || (/no data|\b(NaN|undefined|null)\b/i.test(panel.text) && `shows ${panel.text}`)];
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
  yield [' ground', legend.some((l) => l === 'no containers seen' || l === 'none') && `names what is not there: ${legend.join(', ')}`];
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
