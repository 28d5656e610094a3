// The dashboards' JSON, as far as it is drawn. The whole of it is checked
// against @grafana/schema by check-types.mjs.
import type { DataTransformerConfig, FieldConfigSource } from '@grafana/data';

export interface Target {
  refId: string;
  expr: string;
  format: string;
  instant: boolean;
  range: boolean;
  legendFormat?: string;
}

export interface Panel {
  id: number;
  type: string;
  title: string;
  description: string;
  gridPos: { x: number; y: number; w: number; h: number };
  targets: Target[];
  fieldConfig: FieldConfigSource;
  options: any;
  transformations?: DataTransformerConfig[];
  /** Only in rows. */
  collapsed?: boolean;
  panels?: Panel[];
}

export interface Variable {
  name: string;
  label: string;
  type: string;
  query: string | { query: string; refId: string };
  current?: { text: string; value: string };
  regex: string;
  sort: number;
  multi: boolean;
  includeAll: boolean;
  allValue?: string;
}

export interface Annotation {
  name: string;
  enable: boolean;
  iconColor: string;
  expr: string;
  step: string;
  filter: { exclude: boolean; ids: number[] };
}

export interface Dashboard {
  uid: string;
  title: string;
  description: string;
  panels: Panel[];
  annotations: { list: Annotation[] };
  templating: { list: Variable[] };
}
