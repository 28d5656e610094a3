// What may be set on a field, and the two registries that Grafana fills when it
// starts. Values are processed and applied by @grafana/data.
import {
  FieldConfigOptionsRegistry, FieldType, standardEditorsRegistry, standardFieldConfigEditorRegistry, standardTransformers,
  standardTransformersRegistry, booleanOverrideProcessor, dataLinksOverrideProcessor, displayNameOverrideProcessor,
  identityOverrideProcessor, numberOverrideProcessor, stringOverrideProcessor, thresholdsOverrideProcessor,
  unitOverrideProcessor, valueMappingsOverrideProcessor, type Field,
} from '@grafana/data';
import type { Dashboard } from './model';

const standard: Record<string, (value: any, context: any, settings?: any) => any> = {
  unit: unitOverrideProcessor,
  min: numberOverrideProcessor,
  max: numberOverrideProcessor,
  decimals: numberOverrideProcessor,
  displayName: displayNameOverrideProcessor,
  noValue: stringOverrideProcessor,
  thresholds: thresholdsOverrideProcessor,
  mappings: valueMappingsOverrideProcessor,
  links: dataLinksOverrideProcessor,
  color: identityOverrideProcessor,
  filterable: booleanOverrideProcessor,
};
const numbersOnly = new Set(['unit', 'min', 'max', 'decimals', 'thresholds']);

/** registryFor knows the standard options and the custom ones that d uses. */
export function registryFor(d: Dashboard): FieldConfigOptionsRegistry {
  const items: any[] = Object.entries(standard).map(([id, process]) => ({
    id, path: id, name: id, process,
    shouldApply: (f: Field) => !numbersOnly.has(id) || f.type === FieldType.number || f.type === FieldType.time || id === 'unit',
  }));
  const custom = new Set<string>();
  for (const p of d.panels.filter((p) => p.type !== 'row')) {
    Object.keys(p.fieldConfig.defaults.custom ?? {}).forEach((key) => custom.add(key));
    for (const o of p.fieldConfig.overrides) {
      for (const { id } of o.properties) {
        if (id.startsWith('custom.')) {
          custom.add(id.slice('custom.'.length));
        } else if (!(id in standard)) {
          throw new Error(`${p.title}: the property ${id} of an override is not known`);
        }
      }
    }
  }
  custom.forEach((path) => items.push({
    id: `custom.${path}`, path, name: path, isCustom: true, process: identityOverrideProcessor, shouldApply: () => true,
  }));
  return new FieldConfigOptionsRegistry(() => items);
}

/** initialise fills the registries of @grafana/data. */
export function initialise() {
  standardEditorsRegistry.setInit(() => []);
  standardFieldConfigEditorRegistry.setInit(() => []);
  // Two names of one transformer are one.
  const transformers = new Map(Object.values(standardTransformers).map((t: any) => [t.id, t]));
  standardTransformersRegistry.setInit(() => [...transformers.values()].map((t) => ({
    id: t.id, name: t.name, description: t.description, transformation: () => Promise.resolve(t),
    editor: () => null, imageDark: '', imageLight: '',
  })));
}
