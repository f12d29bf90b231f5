// Draws FIGURES as they are; only colours follow the page, and long legends its width.
'use strict';
(() => {
  const dark = matchMedia('(prefers-color-scheme: dark)');
  const EXTRA = ['select2d', 'lasso2d', 'zoomIn2d', 'zoomOut2d', 'autoScale2d'];
  const phone = () => window.innerWidth < 600;

  const inDark = (value, key) => {
    if (typeof value === 'string') return /color/i.test(key) && DARK[value] || value;
    if (Array.isArray(value)) return value.map(item => inDark(item, key));
    if (value === null || typeof value !== 'object') return value;
    return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, inDark(item, name)]));
  };

  const chosen = place => document.querySelector(`select[data-of="${place}"]`)?.selectedIndex ?? 0;

  const draw = (place, printing) => {
    const element = document.getElementById(place);
    let figure = structuredClone(FIGURES[place][chosen(place)]);
    if (dark.matches && !printing) figure = inDark(figure, '');
    const { data, layout } = figure, { legend } = layout;
    if (phone() && legend?.entrywidthmode === 'fraction') {
      const entries = data.filter(trace => trace.name && trace.showlegend !== false).length;
      layout.height += 19 * Math.floor(entries / 2);
      legend.entrywidth = 1;
    }
    element.style.minHeight = `${layout.height}px`;
    // In a small figure the bar would lie over its title.
    const bar = phone() || place.startsWith('marginals') ? false : 'hover';
    const config = { responsive: true, displaylogo: false, displayModeBar: bar, modeBarButtonsToRemove: EXTRA };
    try {
      Plotly.react(element, data, layout, config);
    } catch (error) {
      element.textContent = `This chart can't be drawn here (${error.message}).`;
    }
  };
  const all = printing => Object.keys(FIGURES).forEach(place => draw(place, printing));

  all(false);
  for (const menu of document.querySelectorAll('select[data-of]')) {
    menu.addEventListener('change', () => draw(menu.dataset.of, false));
  }
  dark.addEventListener('change', () => all(false));
  window.addEventListener('beforeprint', () => { document.documentElement.dataset.theme = 'light'; all(true); });
  window.addEventListener('afterprint', () => { delete document.documentElement.dataset.theme; all(false); });
})();
