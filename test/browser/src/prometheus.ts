// Asks Prometheus what a dashboard asks, in the way of Grafana's server: it
// makes one data frame a series. From there on the code is Grafana's own.
import { rangeUtil, FieldType, type DataFrame, type TimeRange, type Labels } from '@grafana/data';
import type { Target } from './model';

/** scrapeInterval is timeInterval of the provisioned data source. */
export const scrapeInterval = 5_000;

interface Series {
  metric: Labels;
  values?: Array<[number, string]>;
  value?: [number, string];
}

export interface Answer {
  resultType: string;
  result: Series[];
}

/** ask sends one request to Prometheus' API; a refusal is an error with its words. */
export async function ask(path: string, params: Record<string, string>): Promise<Answer> {
  const response = await fetch(path, { method: 'POST', body: new URLSearchParams(params) });
  const body = await response.json();
  if (body.status !== 'success') {
    throw new Error(`${params.query}: ${body.error}`);
  }
  return body.data;
}

/** step is the time between two points of a graph as wide as a panel, in ms. */
export function step(range: TimeRange, width: number): number {
  return rangeUtil.calculateInterval(range, Math.max(1, Math.floor(width)), '5s').intervalMs;
}

/** rateInterval is the documented $__rate_interval, in ms. */
export function rateInterval(stepMs: number): number {
  return Math.max(stepMs + scrapeInterval, 4 * scrapeInterval);
}

/** framesOf asks one query of a panel. Without a series there is one empty frame. */
export async function framesOf(target: Target, expr: string, range: TimeRange, stepMs: number): Promise<DataFrame[]> {
  const frames: DataFrame[] = [];
  if (target.range) {
    const align = (ms: number) => (Math.floor(ms / stepMs) * stepMs) / 1000;
    const answer = await ask('/api/v1/query_range', {
      query: expr, start: String(align(range.from.valueOf())), end: String(align(range.to.valueOf())), step: String(stepMs / 1000),
    });
    frames.push(...answer.result.map((s) => frame(target, s.metric, s.values ?? [], answer.resultType, stepMs)));
  }
  if (target.instant) {
    const answer = await ask('/api/v1/query', { query: expr, time: String(range.to.valueOf() / 1000) });
    frames.push(...answer.result.map((s) => frame(target, s.metric, s.value ? [s.value] : [], answer.resultType, stepMs)));
  }
  return frames.length > 0 ? frames : [{ refId: target.refId, fields: [], length: 0 }];
}

function frame(target: Target, metric: Labels, samples: Array<[number, string]>, resultType: string, stepMs: number): DataFrame {
  const name = legend(target.legendFormat, metric);
  return {
    refId: target.refId,
    name,
    meta: { custom: { resultType }, executedQueryString: `Expr: ${target.expr}\nStep: ${stepMs / 1000}s` },
    fields: [
      { name: 'Time', type: FieldType.time, config: { interval: stepMs }, values: samples.map(([t]) => t * 1000) },
      { name: 'Value', type: FieldType.number, labels: metric, config: { displayNameFromDS: name }, values: samples.map(([, v]) => Number(v)) },
    ],
    length: samples.length,
  };
}

/** legend fills in {{label}}; a label that the series lacks is nothing. */
function legend(format: string | undefined, metric: Labels): string {
  if (format) {
    return format.replace(/\{\{\s*(.+?)\s*\}\}/g, (_, label) => metric[label] ?? '');
  }
  const { __name__, ...labels } = metric;
  const list = Object.entries(labels).map(([k, v]) => `${k}="${v}"`);
  return list.length > 0 ? `${__name__ ?? ''}{${list.join(', ')}}` : __name__ ?? '';
}
