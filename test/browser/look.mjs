/** look runs in the page and returns what a person would read in each panel. */
export function look() {
  const { drawn } = window;
  if (drawn.failed) {
    return { failed: drawn.failed, panels: [] };
  }
  const text = (e) => (e ? e.innerText.trim() : '');
  const panels = drawn.panels.filter(({ panel }) => panel.type !== 'row').map(({ panel, error }) => {
    const box = document.querySelector(`[data-panel="${panel.id}"]`);
    const body = box.querySelector('[data-testid="data-testid panel content"]') ?? box;
    const seen = { id: panel.id, title: panel.title, type: panel.type, error, text: text(body), nothing: text(box.querySelector('[data-nothing]')) };
    if (panel.type === 'table') {
      const rows = [...box.querySelectorAll('[role="row"]')];
      const cells = (row, role) => [...row.querySelectorAll(`[role="${role}"]`)];
      seen.headers = rows.flatMap((r) => cells(r, 'columnheader').map(text));
      seen.rows = rows.map((r) => cells(r, 'gridcell').map((c) => ({
        text: text(c), color: getComputedStyle(c).backgroundColor, href: c.querySelector('a')?.getAttribute('href') ?? undefined,
      }))).filter((r) => r.length > 0);
    }
    if (panel.type === 'timeseries') {
      const canvas = box.querySelector('canvas');
      seen.legend = [...box.querySelectorAll('[data-testid^="data-testid VizLegend series"], tbody tr')].map((e) => text(e).split('\n')[0]);
      seen.marks = box.querySelectorAll('[data-mark]').length;
      seen.colors = 0;
      if (canvas) {
        const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
        const set = new Set();
        for (let i = 0; i < data.length; i += 4) {
          if (data[i + 3] > 200) set.add((data[i] << 16) | (data[i + 1] << 8) | data[i + 2]);
        }
        seen.colors = set.size;
      }
    }
    return seen;
  });
  return { panels, chosen: drawn.chosen, marks: drawn.marks, width: document.documentElement.scrollWidth };
}
