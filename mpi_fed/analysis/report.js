"use strict";
// The chart: every curve of one problem, over rounds, bytes or seconds, on logarithmic or linear axes.
(function () {
  const data = JSON.parse(document.getElementById("curves").textContent);
  const chart = document.getElementById("chart"), form = document.getElementById("controls");
  const dashes = { exact: "dash", approximate: "dot" };

  function scaled(series, values, on) {
    return on ? values.map((value, i) => value && 2 * series.rounds[i] * value) : values;
  }

  function darker(colour) {
    const parts = colour.match(/[0-9a-f]{2}/gi).map((part) => Math.round(0.6 * parseInt(part, 16)));
    return `rgb(${parts})`;
  }

  function traces(series, choice) {
    const style = data.names[series.name], x = series[choice.x], group = { legendgroup: style.name };
    const found = [], times = choice.risk === "scaled";
    if (choice.band && series.low) {
      const edge = { x, mode: "lines", line: { width: 0 }, hoverinfo: "skip", showlegend: false, ...group };
      found.push({ ...edge, y: scaled(series, series.low, times) });
      found.push({ ...edge, y: scaled(series, series.high, times), fill: "tonexty", fillcolor: style.colour + "24" });
    }
    const line = { color: style.colour, width: 2 };
    found.push({
      x: [null], y: [null], name: style.name, ...group, mode: "lines+markers", line,
      marker: { symbol: style.symbol, color: style.colour, size: 10 }, hoverinfo: "skip",
    });
    const every = Math.max(1, Math.ceil(x.length / 9)), first = 2 * (series.name % 5);
    found.push({
      x, y: scaled(series, series.mean, times), name: style.name, ...group, mode: "lines+markers",
      line, showlegend: false,
      marker: {
        symbol: style.symbol, color: style.colour, line: { color: "white", width: 1 },
        size: x.map((_, i) => (i % every === first % every ? 10 : 0)),
      },
      hovertemplate: "%{y:.3~g}",
    });
    if (choice.theory && series.theory) {
      found.push({
        x, y: scaled(series, series.theory, times), name: style.name + ", theory", ...group, mode: "lines",
        line: { color: darker(style.colour), width: 1.5, dash: dashes[series.kind] || "dot" }, showlegend: false,
        hovertemplate: "%{y:.3~g}",
      });
    }
    if (times && series.limit) {
      found.push({
        x: [x[x.length - 1]], y: [series.limit], name: style.name + ", limit trace", ...group, mode: "markers",
        marker: { symbol: "triangle-left", size: 11, color: style.colour }, showlegend: false,
        hovertemplate: "%{y:.3~g}",
      });
    }
    return found;
  }

  // Entries of the legend for the kinds of theory.
  function keys(choice) {
    if (!choice.theory) return [];
    return data.theories.map((theory) => ({
      x: [null], y: [null], name: theory.name, mode: "lines", hoverinfo: "skip",
      line: { color: "#4d4d4d", width: 1.5, dash: dashes[theory.kind] },
    }));
  }

  function decades(values) {
    const known = values.filter((value) => value > 0);
    return known.length ? Math.log10(Math.max(...known) / Math.min(...known)) : 0;
  }

  // An axis over many decades has labels at powers of ten, about eight at most; over few decades also between them.
  function axis(title, type, values) {
    const span = decades(values), step = span > 3 ? Math.ceil(span / 8) : null;
    const log = type === "log" ? { exponentformat: "power", dtick: step, minor: { ticks: "outside" } } : {};
    return {
      title: { text: title }, type, automargin: true, gridcolor: "#e4e7eb", linecolor: "#5b6570", showline: true,
      zeroline: false, rangemode: type === "log" ? "normal" : "tozero", ...log,
    };
  }

  function draw() {
    const choice = Object.fromEntries(new FormData(form)), narrow = chart.clientWidth < 560;
    const panel = data.panels[choice.panel || 0];
    const risk = choice.risk === "scaled" ? "2k · excess risk" : "excess risk of the averaged iterate";
    const all = [...panel.series.flatMap((series) => traces(series, choice)), ...keys(choice)];
    const seen = (which) => all.flatMap((trace) => trace[which]);
    const layout = {
      xaxis: axis(data.axes[choice.x], choice.xscale, seen("x")), yaxis: axis(risk, choice.yscale, seen("y")),
      hovermode: "x unified", margin: { l: 60, r: 12, t: 12, b: 40 }, height: narrow ? 520 : 560,
      legend: { orientation: "h", y: -0.2, x: 0, font: { size: narrow ? 11 : 13 } },
      font: { family: "system-ui, 'Segoe UI', 'DejaVu Sans', sans-serif", color: "#1d2329" },
      paper_bgcolor: "white", plot_bgcolor: "white",
    };
    Plotly.react(chart, all, layout, { responsive: true, displaylogo: false, displayModeBar: narrow ? false : "hover" });
  }

  document.documentElement.classList.add("live");
  form.addEventListener("change", draw);
  draw();
})();
