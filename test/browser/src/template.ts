// Fills in variables. Grafana does this in its application, which no package
// carries: here are the forms that the dashboards use, and no others.
import { getFieldDisplayValuesProxy, type ScopedVars } from '@grafana/data';

/** Values are by name, without the dollar. */
export type Values = Record<string, string>;

/**
 * interpolate replaces $name, ${name}, ${name:raw}, ${name:queryparam} and
 * ${__data.fields.Name}. A variable
 * that nobody set is an error: in Grafana it would reach Prometheus as text.
 */
export function interpolate(text: string, values: Values, scoped?: ScopedVars): string {
  return text.replace(/\$(?:\{([\w.]+)(?::(raw|queryparam))?\}|(\w+))/g, (whole, braced, format, bare) => {
    const name = braced ?? bare;
    if (/^\d+$/.test(name)) {
      return whole; // a group of label_replace
    }
    if (name.startsWith('__data.fields.')) {
      const { frame, rowIndex } = scoped?.__dataContext?.value ?? {};
      const fields: any = getFieldDisplayValuesProxy({ frame, rowIndex });
      const value = fields[name.slice('__data.fields.'.length)];
      if (value === undefined) {
        throw new Error(`${whole} in ${text}: no such field`);
      }
      return encodeURIComponent(value.toString());
    }
    if (!(name in values)) {
      throw new Error(`${whole} in ${text} has no value`);
    }
    return format === 'queryparam' ? `var-${name}=${encodeURIComponent(values[name])}` : values[name];
  });
}
