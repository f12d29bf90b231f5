// Draws DATA and works nothing out. Plotly reads a little HTML in its texts, so each is escaped.
'use strict';
(() => {
  const safe = text => String(text).replace(/[&<>"']/g, c => `&#${c.charCodeAt(0)};`);
  const css = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const palette = () => ['--c1', '--c2', '--c3', '--c4', '--c5', '--c6'].map(css);
  const shapes = ['circle', 'square', 'triangle-up', 'x', 'star', 'cross'];
  const dashes = ['solid', 'dash', 'dot', 'dashdot'];
  const phone = () => window.innerWidth < 600;
  const faded = (color, alpha) => {
    const n = parseInt(color.slice(1), 16);
    return `rgba(${n >> 16},${(n >> 8) & 255},${n & 255},${alpha})`;
  };
  const axis = more => Object.assign(
    { gridcolor: css('--line'), linecolor: css('--line'), zeroline: false, automargin: true }, more);
  const layout = more => Object.assign({
    paper_bgcolor: 'rgba(0,0,0,0)', plot_bgcolor: 'rgba(0,0,0,0)',
    font: { color: css('--front'), size: 12 }, margin: { l: 8, r: 16, t: 8, b: 40 },
    hoverlabel: { bgcolor: css('--panel'), font: { color: css('--front') }, align: 'left' },
    showlegend: false, modebar: { bgcolor: 'rgba(0,0,0,0)', color: css('--quiet') },
  }, more);

  // Keys are plain HTML: they wrap, they print, and nothing lies over the chart.
  const keyOf = (id, items) => {
    document.getElementById(id).replaceChildren(...items.map(([mark, color, text]) => {
      const item = document.createElement('span'), sign = document.createElement('span');
      sign.textContent = mark;
      sign.style.color = color;
      item.append(sign, ` ${text}`);
      return item;
    }));
  };
  const picked = new Set(DATA.curves.map((_, k) => k).slice(0, phone() ? 3 : 6));
  const key = colors => {
    document.getElementById('curves-key').replaceChildren(...DATA.curves.map((curve, k) => {
      const label = document.createElement('label'), box = document.createElement('input');
      const swatch = document.createElement('span'), text = document.createElement('span');
      box.type = 'checkbox';
      box.checked = picked.has(k);
      box.addEventListener('change', () => { picked[box.checked ? 'add' : 'delete'](k); show('curves'); });
      swatch.className = 'swatch';
      swatch.style.borderTop = `3px ${['solid', 'dashed', 'dotted', 'double'][Math.floor(k / 6) % 4]} ${colors[k % 6]}`;
      text.textContent = `${curve.name} ${curve.config}`;
      label.append(box, swatch, text);
      return label;
    }));
  };

  const draw = {
    ranking() {
      // Scores of different rungs don't compare, so each rung has an axis of its own.
      const rungs = [...new Set(DATA.ranking.map(row => row.rung))].filter(rung => rung);
      const parts = rungs.map(rung => DATA.ranking.filter(row => row.rung === rung).reverse());
      const gap = 62, height = parts.reduce((sum, rows) => sum + 26 * rows.length + gap, 0);
      const colors = palette(), traces = [], axes = {}, annotations = [];
      let top = height - 24;
      keyOf('ranking-key', [...DATA.seeds.slice(0, 24).map((seed, k) => ['○□△✕☆✚'[k % 6], colors[k % 6], `seed ${seed}`]),
        ['◆', css('--front'), 'mean, with its 95 % interval']]);
      parts.forEach((rows, i) => {
        const n = i ? i + 1 : '', bottom = top - 26 * rows.length;
        const place = rows.map(row => safe(row.name));
        DATA.seeds.slice(0, 24).forEach((seed, k) => {
          if (!rows.some(row => seed in row.values)) return;
          traces.push({
            type: 'scatter', mode: 'markers', x: rows.map(row => row.values[seed] ?? null), y: place, xaxis: `x${n}`, yaxis: `y${n}`,
            marker: { symbol: `${shapes[k % 6]}-open`, size: 9, color: colors[k % 6], line: { width: 1.5 } },
            hovertemplate: `%{y}, seed ${safe(seed)}: %{x}<extra></extra>`,
          });
        });
        if (rows.some(row => row.low !== null)) traces.push({
          type: 'scatter', mode: 'markers',
          x: rows.map(row => row.mean), y: place, xaxis: `x${n}`, yaxis: `y${n}`,
          marker: { symbol: 'diamond', size: 8, color: css('--front') },
          error_x: {
            type: 'data', symmetric: false, color: css('--front'), thickness: 1.5, width: 4,
            array: rows.map(row => row.high === null ? 0 : row.high - row.mean),
            arrayminus: rows.map(row => row.low === null ? 0 : row.mean - row.low),
          },
          customdata: rows.map(row => [safe(row.config), safe(row.state)]),
          hovertemplate: '%{y}: %{x}<br>%{customdata[0]}<br>%{customdata[1]}<extra></extra>',
        });
        const domain = [bottom / height, top / height];
        axes[`yaxis${n}`] = axis({ type: 'category', domain, anchor: `x${n}` });
        axes[`xaxis${n}`] = axis({ anchor: `y${n}` });
        annotations.push({
          text: safe(`rung ${rows[0].rung}: ${DATA.metric}`), showarrow: false, xref: 'paper', yref: 'paper',
          x: 0, y: domain[1], xanchor: 'left', yanchor: 'bottom', font: { size: 12, color: css('--quiet') },
        });
        top = bottom - gap;
      });
      return [traces, layout({
        height, annotations, margin: { l: 8, r: 16, t: 0, b: 0 }, ...axes,
      })];
    },

    curves() {
      const colors = palette(), traces = [];
      key(colors);
      DATA.curves.forEach((curve, k) => {
        const color = colors[k % 6];
        const common = { visible: picked.has(k), type: 'scatter' };
        const banded = curve.std.some(value => value !== null);
        if (banded) {
          const up = curve.mean.map((m, i) => m + curve.std[i]), down = curve.mean.map((m, i) => m - curve.std[i]);
          traces.push({ ...common, x: [...curve.x, ...curve.x.slice().reverse()], y: [...up, ...down.reverse()],
            mode: 'lines', fill: 'toself', fillcolor: faded(color, 0.2), line: { width: 0 }, hoverinfo: 'skip', showlegend: false });
        }
        for (const run of curve.runs) {
          traces.push({ ...common, x: run.x, y: run.y, mode: 'lines', line: { color, width: 0.8 }, opacity: 0.55,
            showlegend: false, hovertemplate: `seed ${safe(run.seed)}, epoch %{x}: %{y}<extra></extra>` });
        }
        traces.push({ ...common, x: curve.x, y: curve.mean, mode: curve.x.length > 1 ? 'lines' : 'markers',
          line: { color, width: 2.5, dash: dashes[Math.floor(k / 6) % 4] }, marker: { color, symbol: shapes[k % 6] },
          hovertemplate: `${safe(curve.name)}, epoch %{x}: %{y}<extra></extra>` });
      });
      return [traces, layout({
        height: 420,
        xaxis: axis({ title: { text: 'epoch' } }), yaxis: axis({ title: { text: safe(DATA.metric) } }),
      })];
    },

    parallel() {
      const { axes, color } = DATA.parallel;
      const shown = phone() ? axes.slice(-5) : axes;
      const dimensions = shown.map(item => {
        const dimension = { label: safe(item.name), values: item.values };
        if (item.labels) {
          dimension.tickvals = item.labels.map((_, k) => k);
          dimension.ticktext = item.labels; // plain text there
          dimension.range = [-0.5, item.labels.length - 0.5];
          if (item.labels.length > 30) dimension.tickvals = dimension.ticktext = [];
        } else if (item.log) {
          const low = Math.floor(Math.min(...item.values)), high = Math.ceil(Math.max(...item.values));
          dimension.tickvals = Array.from({ length: high - low + 1 }, (_, k) => low + k);
          dimension.ticktext = dimension.tickvals.map(v => (10 ** v).toPrecision(1));
          dimension.range = [low, high];
        }
        const different = [...new Set(item.values)];
        if (!dimension.tickvals && different.length <= 8) dimension.tickvals = different;
        return dimension;
      });
      return [[{
        type: 'parcoords', dimensions, labelangle: phone() ? -25 : -12,
        line: { color, colorscale: 'Viridis', reversescale: !DATA.higher, showscale: !phone(),
          colorbar: { title: { text: safe(DATA.metric) }, thickness: 12 } },
        labelfont: { color: css('--front'), size: 11 }, tickfont: { color: css('--front'), size: 10 },
        rangefont: { color: css('--quiet'), size: 10 },
      }], layout({ height: 420, margin: { l: 60, r: 60, t: 70, b: 24 } })];
    },

    marginals() {
      const tables = DATA.marginals.slice(0, 24), wide = phone() ? 1 : Math.min(3, tables.length);
      const deep = Math.ceil(tables.length / wide), height = 250 * deep, traces = [], axes = {}, annotations = [];
      tables.forEach((table, i) => {
        const n = i ? i + 1 : '', column = i % wide, row = Math.floor(i / wide);
        const x = [column / wide + 0.06 * (wide > 1), (column + 1) / wide], y = [1 - (row + 1) / deep + 90 / height, 1 - row / deep - 26 / height];
        traces.push({
          type: 'scatter', mode: 'markers', xaxis: `x${n}`, yaxis: `y${n}`, x: table.values.map((_, k) => k), y: table.mean,
          marker: { color: css('--c1'), size: 9, symbol: 'diamond' },
          error_y: {
            type: 'data', symmetric: false, color: css('--c1'), thickness: 1.5, width: 4,
            array: table.high.map((high, k) => high === null ? 0 : high - table.mean[k]),
            arrayminus: table.low.map((low, k) => low === null ? 0 : table.mean[k] - low),
          },
          customdata: table.values.map((value, k) => [safe(value), table.n[k]]),
          hovertemplate: '%{customdata[0]}: %{y}<br>%{customdata[1]} configs<extra></extra>',
        });
        axes[`xaxis${n}`] = axis({
          domain: x, anchor: `y${n}`, tickvals: table.values.map((_, k) => k), ticktext: table.values.map(safe),
          range: [-0.5, table.values.length - 0.5], tickangle: table.values.some(value => value.length > 6) ? 28 : 0, tickfont: { size: 10 }, automargin: false,
        });
        axes[`yaxis${n}`] = axis({ domain: y, anchor: `x${n}`, tickfont: { size: 10 }, automargin: column === 0 });
        annotations.push({ text: safe(table.name), showarrow: false, xref: 'paper', yref: 'paper',
          x: x[0], y: y[1], xanchor: 'left', yanchor: 'bottom', font: { size: 13, weight: 'bold' } });
      });
      return [traces, layout({ height, annotations, margin: { l: 30, r: 10, t: 4, b: 4 }, ...axes })];
    },

    spending() {
      const colors = palette();
      const fates = ['went on', 'complete', 'stopped', 'failed', 'unfinished'];
      const patterns = ['', '', '/', 'x', '.'], marks = '■■▨▩▦', tints = [0, 2, 5, 1, 4].map(k => colors[k]);
      const found = fates.filter(fate => DATA.spending.some(row => row.groups[fate]));
      keyOf('spending-key', found.map(fate => [marks[fates.indexOf(fate)], tints[fates.indexOf(fate)], fate]));
      const rows = DATA.spending.slice().reverse();
      const traces = fates.map((fate, k) => ({
        type: 'bar', orientation: 'h', name: fate, y: rows.map(row => safe(row.rung)),
        x: rows.map(row => row.epochs[fate] ?? 0), marker: { color: tints[k], pattern: { shape: patterns[k] } },
        customdata: rows.map(row => row.groups[fate] ?? 0),
        hovertemplate: `${fate}: %{customdata} configs, %{x} epochs<extra></extra>`,
      })).filter(trace => trace.x.some(value => value > 0));
      return [traces, layout({
        barmode: 'stack', height: 90 + 40 * rows.length,
        xaxis: axis({ title: { text: 'epochs trained on the way to the rung' } }),
        yaxis: axis({ type: 'category', title: { text: 'epochs x seeds' } }),
      })];
    },
  };

  const show = only => {
    for (const [name, make] of Object.entries(draw)) {
      const figure = document.getElementById(name);
      if (!figure || (typeof only === 'string' && only !== name)) continue;
      try {
        const [traces, frame] = make();
        figure.style.minHeight = `${frame.height}px`;
        Plotly.react(figure, traces, frame, { responsive: true, displaylogo: false, displayModeBar: phone() ? false : 'hover' });
      } catch (error) {
        figure.textContent = `This chart can't be drawn here (${error.message}).`;
      }
    }
  };
  show();
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', show);
  window.addEventListener('beforeprint', () => { document.documentElement.dataset.theme = 'light'; show(); });
  window.addEventListener('afterprint', () => { delete document.documentElement.dataset.theme; show(); });
})();
