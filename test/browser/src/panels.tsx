// The panels: stat, timeseries and table, out of the components that Grafana's
// own panels are made of.
import * as React from 'react';
import {
  applyNullInsertThreshold, cacheFieldDisplayNames, getDisplayValueAlignmentFactors, getFieldDisplayValues, nullToValue, type DataFrame, type FieldConfigSource, type FieldDisplay,
  type GrafanaTheme2, type InterpolateFunction, type TimeRange,
} from '@grafana/data';
import { BigValue, TimeSeries, VizRepeater, useTheme2, type UPlotConfigBuilder } from '@grafana/ui';
import { TableNG } from '@grafana/ui/unstable';
import type { Panel } from './model';
import { Marks, type Mark } from './marks';

export interface PanelData {
  frames: DataFrame[];
  range: TimeRange;
  marks: Mark[];
  replace: InterpolateFunction;
}

interface Props {
  panel: Panel;
  data: PanelData;
  width: number;
  height: number;
}

export const timeZone = 'utc';

/** Content is the panel without its frame and title. */
export function Content(props: Props) {
  switch (props.panel.type) {
    case 'stat':
      return <Stat {...props} />;
    case 'timeseries':
      return <Graph {...props} />;
    case 'table':
      return <Table {...props} />;
  }
  throw new Error(`${props.panel.title}: panels of type ${props.panel.type} cannot be drawn`);
}

function Stat({ panel, data, width, height }: Props) {
  const theme = useTheme2();
  const { options } = panel;
  const values = () => getFieldDisplayValues({
    data: data.frames, theme, timeZone, fieldConfig: panel.fieldConfig as FieldConfigSource, reduceOptions: options.reduceOptions,
    replaceVariables: data.replace, sparkline: options.graphMode !== 'none',
  });
  return (
    <VizRepeater<FieldDisplay, ReturnType<typeof getDisplayValueAlignmentFactors>>
      getValues={values} getAlignmentFactors={getDisplayValueAlignmentFactors} width={width} height={height} source={data}
      renderCounter={0} autoGrid orientation={options.orientation}
      renderValue={({ value, alignmentFactors, width, height, count }) => (
        <BigValue
          value={value.display} sparkline={value.sparkline && { ...value.sparkline, timeRange: data.range }} count={count}
          colorMode={options.colorMode} graphMode={options.graphMode} justifyMode={options.justifyMode} textMode={options.textMode}
          text={options.text} alignmentFactors={alignmentFactors} width={width} height={height} theme={theme}
          disableWideLayout={options.wideLayout === false}
        />
      )}
    />
  );
}

function Graph({ panel, data, width, height }: Props) {
  // As Grafana's time series panel does: a series that has ended ends with null, which is
  // its last value in the legend, and colours by name are made of cached names.
  const [from, to] = [data.range.from.valueOf(), data.range.to.valueOf()];
  const frames = data.frames.filter((f) => f.length > 0)
    .map((frame) => nullToValue(applyNullInsertThreshold({ frame, refFieldPseudoMin: from, refFieldPseudoMax: to })));
  if (frames.length === 0) {
    return <Nothing panel={panel} width={width} height={height} />;
  }
  cacheFieldDisplayNames(frames);
  return (
    <TimeSeries frames={frames} structureRev={1} timeRange={data.range} timeZone={timeZone} width={width} height={height} legend={panel.options.legend}
      options={panel.options}>
      {(config: UPlotConfigBuilder) => <Marks config={config} marks={data.marks} />}
    </TimeSeries>
  );
}

function Table({ panel, data, width, height }: Props) {
  const frame = data.frames[0];
  if (!frame || frame.length === 0 || frame.fields.length === 0) {
    return <Nothing panel={panel} width={width} height={height} />;
  }
  cacheFieldDisplayNames(data.frames); // as Grafana's table panel does: the heads are read from there
  return (
    <TableNG data={frame} width={width} height={height} noHeader={!panel.options.showHeader} cellHeight={panel.options.cellHeight}
      sortBy={panel.options.sortBy} enablePagination={false} noValue={panel.fieldConfig.defaults.noValue} fieldConfig={panel.fieldConfig}
      timeRange={data.range} structureRev={1} enableVirtualization={false} frozenColumns={panel.options.frozenColumns?.left} />
  );
}

/** Nothing is what Grafana shows in a panel without data. */
function Nothing({ panel, width, height }: Omit<Props, 'data'>) {
  const theme: GrafanaTheme2 = useTheme2();
  return (
    <div data-nothing style={{ width, height, display: 'flex', alignItems: 'center', justifyContent: 'center', color: theme.colors.text.secondary }}>
      {panel.fieldConfig.defaults.noValue || 'No data'}
    </div>
  );
}
