// The marks over a graph: a dashed line each, and a triangle under it.
import * as React from 'react';
import { createPortal } from 'react-dom';
import { useTheme2, type UPlotConfigBuilder } from '@grafana/ui';

export interface Mark {
  panels: number[]; // ids
  time: number; // ms
  color: string;
  title: string;
  text: string;
  tags: string[];
}

export function Marks({ config, marks }: { config: UPlotConfigBuilder; marks: Mark[] }) {
  const [plot, setPlot] = React.useState<any>();
  const theme = useTheme2();
  const color = (m: Mark) => theme.visualization.getColorByName(m.color);
  React.useLayoutEffect(() => {
    config.addHook('ready', (u: any) => setPlot(u));
    config.addHook('draw', (u: any) => {
      const { ctx, bbox } = u;
      ctx.save();
      ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
      ctx.clip();
      ctx.setLineDash([5, 5]);
      ctx.lineWidth = 2;
      for (const m of marks) {
        const x = u.valToPos(m.time, 'x', true);
        ctx.strokeStyle = color(m);
        ctx.beginPath();
        ctx.moveTo(x, bbox.top);
        ctx.lineTo(x, bbox.top + bbox.height);
        ctx.stroke();
      }
      ctx.restore();
    });
  }, [config]);
  const axis = plot?.root.querySelector('.u-axis');
  if (!axis) {
    return null;
  }
  const left = (m: Mark) => Math.round(plot.valToPos(m.time, 'x'));
  return createPortal(
    marks.filter((m) => left(m) >= 0 && left(m) <= plot.rect.width).map((m, i) => (
      <div key={i} data-mark title={`${m.title}: ${m.text}`} style={{
        position: 'absolute', left: left(m), width: 0, height: 0, transform: 'translateX(-50%)',
        border: '5px solid transparent', borderTopWidth: 0, borderBottomColor: color(m),
      }} />
    )), axis);
}
