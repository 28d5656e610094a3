// One dashboard, drawn whole. It reads its name and time range from the page's
// address and leaves what it saw in window.drawn.
import * as React from 'react';
import { createRoot } from 'react-dom/client';
import { lastValueFrom } from 'rxjs';
import { applyFieldOverrides, createTheme, dateTime, locationUtil, transformDataFrame, ThemeContext, type DataFrame, type TimeRange } from '@grafana/data';
import { GlobalStyles, Icon, PanelChrome, PortalContainer } from '@grafana/ui';
import { PrometheusAnnotationSupport } from '@grafana/prometheus/dist/esm/annotations.mjs';
import { interpolateQueryExpr } from '@grafana/prometheus/dist/esm/escaping.mjs';
import { PrometheusMetricFindQuery } from '@grafana/prometheus/dist/esm/metric_find_query.mjs';
import { transformV2 } from '@grafana/prometheus/dist/esm/result_transformer.mjs';
import type { Dashboard, Panel, Variable } from './model';
import { initialise, registryFor } from './fields';
import { Content, timeZone, type PanelData } from './panels';
import type { Mark } from './marks';
import { ask, framesOf, rateInterval, step } from './prometheus';
import { interpolate, type Values } from './template';

const columns = 24, cell = 30, gap = 8, phone = 769;
const asked = new URLSearchParams(location.search);
const theme = createTheme({ colors: { mode: 'dark' } });
const range: TimeRange = {
  from: dateTime(Number(asked.get('from'))), to: dateTime(Number(asked.get('to'))),
  raw: { from: dateTime(Number(asked.get('from'))), to: dateTime(Number(asked.get('to'))) },
};

interface Drawn {
  panels: Array<{ panel: Panel; data?: PanelData; error?: string }>;
  marks: Mark[];
  chosen: Record<string, { text: string; value: string; of: number }>;
}

/** choose runs the variable's query and takes the asked values, else all, else the first one. */
async function choose(v: Variable, values: Values) {
  if (v.type !== 'query' || typeof v.query === 'string') {
    return { ...v.current!, of: 1 };
  }
  const source = { metadataRequest: async (path: string, params: any) => ({ data: { data: await ask(path, params) } }) };
  const found = await new PrometheusMetricFindQuery(source as any, interpolate(v.query.query, values)).process(range);
  const options = found.flatMap(({ text }: any) => {
    const regex = v.regex && new RegExp(v.regex.slice(1, -1));
    const groups = regex ? regex.exec(text)?.groups : { value: text, text };
    return groups?.value || groups?.text ? [{ value: groups.value ?? groups.text!, text: groups.text ?? groups.value! }] : [];
  });
  const wanted = asked.get(`var-${v.name}`);
  if (v.includeAll && !wanted) {
    return { text: 'All', value: v.allValue ?? interpolateQueryExpr(options.map((o) => o.value), v as any), of: options.length };
  }
  if (v.multi) {
    const several = asked.getAll(`var-${v.name}`).filter((name) => options.some((o) => o.value === name));
    return { text: several.join(' + '), value: interpolateQueryExpr(several, v as any), of: options.length };
  }
  const chosen = options.find((o) => o.value === wanted || o.text === wanted) ?? (wanted ? undefined : options[0]);
  return { ...(chosen ?? { value: '', text: '' }), of: options.length };
}

async function marksOf(d: Dashboard, values: Values): Promise<Mark[]> {
  const support = PrometheusAnnotationSupport({} as any);
  const marks: Mark[] = [];
  if (d.annotations.list.some((a) => a.filter.exclude || a.filter.ids.length === 0)) {
    throw new Error('annotations on all panels cannot be drawn');
  }
  for (const saved of d.annotations.list.filter((a) => a.enable)) {
    const annotation: any = support.prepareAnnotation!(structuredClone(saved));
    const target = { ...annotation.target, format: 'time_series', range: true, instant: false };
    const stepMs = Math.max(step(range, 1000), 5000);
    const frames = await framesOf(target, interpolate(target.expr, values), range, stepMs);
    const events = await lastValueFrom(support.processEvents!(annotation, frames));
    for (const e of events ?? []) {
      marks.push({ panels: saved.filter.ids, time: e.time!, color: saved.iconColor, title: e.title!, text: e.text!, tags: e.tags! });
    }
  }
  return marks;
}

async function load(panel: Panel, d: Dashboard, width: number, values: Values, marks: Mark[]): Promise<PanelData> {
  const stepMs = step(range, width);
  const own: Values = {
    ...values, __interval: `${stepMs / 1000}s`, __rate_interval: `${rateInterval(stepMs) / 1000}s`,
  };
  const replace = (text: any, scoped?: any) => interpolate(text ?? '', own, scoped);
  const answers = await Promise.all(panel.targets.map((t) => framesOf(t, replace(t.expr), range, stepMs)));
  let { data: frames }: { data: DataFrame[] } = transformV2({ data: answers.flat() } as any, { targets: panel.targets, app: 'dashboard' } as any, {}) as any;
  if (panel.transformations) {
    frames = await lastValueFrom(transformDataFrame(panel.transformations, frames, { interpolate: replace as any }));
  }
  frames = applyFieldOverrides({
    data: frames, fieldConfig: panel.fieldConfig, fieldConfigRegistry: registryFor(d), replaceVariables: replace as any, theme, timeZone,
  });
  return { frames, range, marks: marks.filter((m) => m.panels.includes(panel.id)), replace: replace as any };
}

/** place gives each panel its box: the grid, or on a phone one below the other. */
function place(panels: Panel[], width: number) {
  const unit = (width - gap * (columns - 1)) / columns;
  const boxes = new Map<number, { left: number; top: number; width: number; height: number }>();
  const height = (h: number) => h * cell + (h - 1) * gap;
  if (width < phone) {
    let top = 0;
    for (const p of [...panels].sort((a, b) => a.gridPos.y - b.gridPos.y || a.gridPos.x - b.gridPos.x)) {
      boxes.set(p.id, { left: 0, top, width, height: height(p.gridPos.h) });
      top += height(p.gridPos.h) + gap;
    }
  } else {
    for (const p of panels) {
      const { x, y, w, h } = p.gridPos;
      boxes.set(p.id, { left: x * (unit + gap), top: y * (cell + gap), width: w * unit + (w - 1) * gap, height: height(h) });
    }
  }
  return { boxes, height: Math.max(...[...boxes.values()].map((b) => b.top + b.height)) };
}

/** Row is the head of a row; what is folded in Grafana is drawn open. */
function Row({ panel }: { panel: Panel }) {
  return (
    <div style={{ display: 'flex', alignItems: 'center', gap: 8, height: '100%', ...theme.typography.h5, color: theme.colors.text.primary }}>
      <Icon name={panel.collapsed ? 'angle-right' : 'angle-down'} />{panel.title}
      {panel.collapsed && <span style={{ color: theme.colors.text.secondary, fontSize: theme.typography.bodySmall.fontSize }}>(folded at first)</span>}
    </div>
  );
}

function Page({ d, drawn, boxes, height }: { d: Dashboard; drawn: Drawn } & ReturnType<typeof place>) {
  const small = { color: theme.colors.text.secondary, fontSize: theme.typography.bodySmall.fontSize };
  return (
    <>
      <header style={{ display: 'flex', flexWrap: 'wrap', alignItems: 'center', gap: 16, padding: '12px 8px 0' }}>
        <span style={{ fontSize: theme.typography.h4.fontSize, fontWeight: 500 }}>{d.title}</span>
        {d.templating.list.map((v) => (
          <span key={v.name} style={{ border: `1px solid ${theme.colors.border.medium}`, borderRadius: 2, padding: '4px 8px' }}>
            <span style={small}>{v.label}&ensp;</span>{drawn.chosen[v.name].text}
          </span>
        ))}
        <span style={{ ...small, marginLeft: 'auto' }}>
          {range.from.utc().format('YYYY-MM-DD HH:mm:ss')} to {range.to.utc().format('HH:mm:ss')} UTC
        </span>
      </header>
      <main style={{ position: 'relative', margin: 8, height }}>
        {drawn.panels.map(({ panel, data, error }) => (
          <section key={panel.id} data-panel={panel.id} style={{ position: 'absolute', ...boxes.get(panel.id)! }}>
            {panel.type === 'row' ? <Row panel={panel} /> : <PanelChrome title={panel.title} description={panel.description} width={boxes.get(panel.id)!.width} height={boxes.get(panel.id)!.height}
              statusMessage={error} padding={panel.type === 'table' ? 'none' : 'md'}>
              {(width, height) => (data ? <Content panel={panel} data={data} width={width} height={height} /> : <div data-error>{error}</div>)}
            </PanelChrome>}
          </section>
        ))}
      </main>
    </>
  );
}

async function main() {
  initialise();
  locationUtil.initialize({ config: { appSubUrl: '' } as any, getVariablesUrlParams: () => ({}), getTimeRangeForUrl: () => range.raw });
  const d: Dashboard = await (await fetch(`/dashboards/${asked.get('dashboard')}.json`)).json();
  const values: Values = {
    __range: `${Math.round((range.to.valueOf() - range.from.valueOf()) / 1000)}s`,
    __url_time_range: `from=${range.from.valueOf()}&to=${range.to.valueOf()}`,
  };
  d.panels = d.panels.flatMap((p) => [p, ...(p.panels ?? [])]);
  const drawn: Drawn = { panels: [], marks: [], chosen: {} };
  for (const v of d.templating.list) {
    drawn.chosen[v.name] = await choose(v, values);
    values[v.name] = drawn.chosen[v.name].value;
  }
  drawn.marks = await marksOf(d, values);
  const { boxes, height } = place(d.panels, document.documentElement.clientWidth - 2 * gap);
  for (const panel of d.panels) {
    if (panel.type === 'row') {
      drawn.panels.push({ panel });
      continue;
    }
    try {
      drawn.panels.push({ panel, data: await load(panel, d, boxes.get(panel.id)!.width, values, drawn.marks) });
    } catch (err) {
      drawn.panels.push({ panel, error: String(err) });
    }
  }
  createRoot(document.getElementById('root')!).render(
    <ThemeContext.Provider value={theme}>
      <GlobalStyles />
      <Page d={d} drawn={drawn} boxes={boxes} height={height} />
      <PortalContainer />
    </ThemeContext.Provider>);
  await document.fonts.ready;
  Object.assign(window, { drawn });
}

main().catch((err) => Object.assign(window, { drawn: { failed: String(err.stack ?? err) } }));
