// Checks the dashboards' files against Grafana's own types and ids: tsc with
// @grafana/schema, and units, reducers, transformers and matchers with
// @grafana/data. The last line is "N passed, N failed".
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, readdirSync, writeFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import path from 'node:path';

const here = path.dirname(fileURLToPath(import.meta.url));
const folder = path.join(here, '..', '..', 'grafana', 'dashboards'); // those for import differ by the data source only
globalThis.navigator ??= { language: 'en-US', languages: ['en-US'] }; // node has had one since release 21
const { fieldMatchers, fieldReducers, getValueFormats, isReducerID, standardTransformers } = createRequire(import.meta.url)('@grafana/data');

const files = readdirSync(folder).filter((f) => f.endsWith('.json')).sort();
let passed = 0;
const failures = [];
const check = (what, fault) => (fault ? failures.push(`${what}: ${fault}`) : passed++);

/** drawn are the panels, also those in folded rows, without the rows. */
const drawn = (d) => d.panels.flatMap((p) => (p.type === 'row' ? p.panels : [p]));

/** typeFaults has tsc compare every dashboard and each panel's options with the schema. */
function typeFaults() {
  const out = path.join(here, '.types');
  mkdirSync(out, { recursive: true });
  const options = { stat: 'StatPanelOptions', timeseries: 'TimeSeriesOptions', table: 'TableOptions' };
  const custom = { timeseries: 'GraphFieldConfig', table: 'TableFieldOptions' };
  const lines = [`import type { Dashboard, Panel, VizLegendOptions, VizTooltipOptions, ReduceDataOptions, GraphFieldConfig, RowPanel, TableFieldOptions } from '@grafana/schema';`];
  lines.push(
    '// A file has words where the types have enums.',
    'type Words<T> = T extends string ? `${T}` : T extends number | boolean | null | undefined ? T : T extends Array<infer E> ? Array<Words<E>> : T extends object ? { [K in keyof T]: Words<T[K]> } : T;',
    'type Exact<T, G> = G extends T ? (Exclude<keyof G, keyof T> extends never ? G : never) : T;',
    'function dashboard(_: Words<Partial<Dashboard>>) {}',
    'function panel<G>(_: G & Exact<Words<Partial<Panel>>, G>) {}',
    'function row(_: Words<Partial<RowPanel>>) {}',
    'function legend<G>(_: G & Exact<Words<Partial<VizLegendOptions>>, G>) {}',
    'function tooltip<G>(_: G & Exact<Words<Partial<VizTooltipOptions>>, G>) {}',
    'function reduce<G>(_: G & Exact<Words<Partial<ReduceDataOptions>>, G>) {}',
    'function graph<G>(_: G & Exact<Words<Partial<GraphFieldConfig>>, G>) {}',
    'function cells(_: Words<Partial<TableFieldOptions>>) {}');
  const call = (f, value) => lines.push(`${f}(${JSON.stringify(value)});`);
  for (const file of files) {
    const d = JSON.parse(readFileSync(path.join(folder, file)));
    lines.push(`// ${file}`);
    // What the Prometheus data source keeps beside the schema's keys.
    for (const a of d.annotations.list) for (const key of ['expr', 'step', 'titleFormat', 'textFormat', 'tagKeys', 'useValueForTime']) delete a[key];
    for (const v of d.templating.list) delete v.definition;
    call('dashboard', d);
    for (const r of d.panels.filter((p) => p.type === 'row')) call('row', r);
    for (const p of drawn(d)) {
      lines.push(`// ${file}: ${p.title}`);
      call('panel', p);
      if (p.options.legend) call('legend', p.options.legend);
      if (p.options.tooltip) call('tooltip', p.options.tooltip);
      if (p.options.reduceOptions) call('reduce', p.options.reduceOptions);
      if (p.fieldConfig.defaults.custom) call(p.type === 'table' ? 'cells' : 'graph', p.fieldConfig.defaults.custom);
    }
  }
  const source = path.join(out, 'dashboards.ts');
  writeFileSync(source, lines.join('\n') + '\n');
  try {
    execFileSync(process.execPath, [path.join(here, 'node_modules', 'typescript', 'bin', 'tsc'), '--noEmit', '--strict', '--skipLibCheck', '--ignoreConfig',
      '--target', 'es2022', '--module', 'preserve', '--moduleResolution', 'bundler', source], { cwd: here, encoding: 'utf8' });
    return [];
  } catch (err) {
    return String(err.stdout || err).trim().split('\n').map((line) => {
      const at = /\((\d+),/.exec(line)?.[1];
      const panel = at && lines.slice(0, Number(at)).reverse().find((l) => l.startsWith('// estiba'));
      return `${panel ? panel.slice(3) + ': ' : ''}${line.slice(0, 600)}`;
    });
  } finally {
    rmSync(out, { recursive: true });
  }
}

console.log(`checking ${files.length} dashboards against the types of @grafana/schema`);
const faults = typeFaults();
faults.forEach((f) => check('types', f));
if (faults.length === 0) check('types');

const units = new Set(getValueFormats().flatMap((group) => group.submenu.map((u) => u.value)));
const transformers = new Set(Object.values(standardTransformers).map((t) => t.id));
check('dashboards', files.length === 0 && 'there are none');
for (const file of files) {
  const d = JSON.parse(readFileSync(path.join(folder, file)));
  for (const p of drawn(d)) {
    const what = `${file}: ${p.title}`;
    const used = [p.fieldConfig.defaults.unit, ...p.fieldConfig.overrides.flatMap((o) => o.properties.filter((x) => x.id === 'unit').map((x) => x.value))];
    for (const unit of used.filter((u) => u !== undefined && u !== '')) check(`${what}: unit ${unit}`, !units.has(unit) && 'is not known');
    for (const calc of [...(p.options.reduceOptions?.calcs ?? []), ...(p.options.legend?.calcs ?? [])]) {
      check(`${what}: reducer ${calc}`, (!isReducerID(calc) || !fieldReducers.getIfExists(calc)) && 'is not known');
    }
    for (const t of p.transformations ?? []) check(`${what}: transformer ${t.id}`, !transformers.has(t.id) && 'is not known');
    for (const o of p.fieldConfig.overrides) check(`${what}: matcher ${o.matcher.id}`, !fieldMatchers.getIfExists(o.matcher.id) && 'is not known');
  }
}
failures.forEach((f) => console.log(`  FAILED ${f}`));
console.log(`${passed} passed, ${failures.length} failed`);
process.exitCode = failures.length > 0 || passed === 0 ? 1 : 0;
