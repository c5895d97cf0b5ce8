(function () {
  const data = JSON.parse(document.getElementById("data").textContent);
  const $ = (id) => document.getElementById(id);
  const all = (selector) => [...document.querySelectorAll(selector)];
  const state = { mu: Number($("mu").value), image: 0, output: data.first };
  const shown = data.tile !== null;
  const charts = [];

  function fill(selector, text) {
    all(selector).forEach((node) => (node.textContent = text));
  }

  function level() {
    return `µ = ${data.muText[state.mu]}, ε = ${data.epsilon[state.mu]}`;
  }

  /* Draw the tile in a row of a sheet at this noise level, pixel for pixel; the style sheet enlarges it unsmoothed. */
  function draw(canvas, source, row, column) {
    const [width, height, gap] = data.tile;
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    const pen = canvas.getContext("2d");
    pen.imageSmoothingEnabled = false;
    pen.clearRect(0, 0, width, height);
    pen.drawImage(source, column * (width + gap), row * (height + gap), width, height, 0, 0, width, height);
  }

  function describe(canvas, source, row, column, text) {
    draw(canvas, source, row, column);
    canvas.setAttribute("aria-label", text);
  }

  function values(output) {
    const own = data.images[state.image].values;
    return data.metrics.map((metric) => `${metric.label} ${number(own[metric.name][output][state.mu])}`).join(" · ");
  }

  function pictures() {
    const image = data.images[state.image];
    const sheet = $(`sheet-${state.image}`);
    const target = all("#picker img")[state.image];
    const name = data.outputs[state.output].label;
    const at = `of ${image.name} at ${level()}`;
    describe($("target"), target, 0, 0, `Target, ${image.name}`);
    describe($("released"), sheet, 0, state.mu, `What is released ${at}`);
    describe($("reconstruction"), sheet, state.output, state.mu, `Reconstruction ${at}: ${name}`);
    draw($("wipe-target"), target, 0, 0);
    draw($("wipe-made"), sheet, state.output, state.mu);
    all("#gallery label").forEach((label) => draw(label.querySelector("canvas"), sheet, Number(label.querySelector("input").value), state.mu));
    fill(".made-name", name);
    $("made-values").textContent = values(state.output);
    if ($("map")) {
      const spread = image.spread[state.mu];
      const text = spread === undefined || spread === null
        ? "std between samples, pixel by pixel" : `std between samples ${number(spread)}, root mean square over pixels`;
      describe($("map"), $(`map-${state.image}`), 0, state.mu, `Map of disagreement between samples ${at}: ${text}`);
      $("map-value").textContent = text;
    }
    wipe();
  }

  function wipe() {
    const share = Number($("wipe").value);
    $("wipe-made").style.clipPath = `inset(0 0 0 ${share}%)`;
    $("edge").style.left = `${share}%`;
    $("wipe").setAttribute("aria-valuetext", `${share} % target, ${100 - share} % ${data.outputs[state.output].label}`);
  }

  function row(body, name, cells, current) {
    const line = body.insertRow();
    const head = line.appendChild(document.createElement("th"));
    head.scope = "row";
    head.textContent = name;
    if (current) line.className = "current";
    for (const [value, interval] of cells) {
      const cell = line.insertCell();
      cell.className = "number";
      cell.append(value);
      if (interval) cell.append(document.createElement("br"), Object.assign(document.createElement("small"), { textContent: interval }));
    }
  }

  function tables() {
    const own = $("own").tBodies[0];
    const image = data.images[state.image];
    own.replaceChildren();
    data.outputs.forEach((output, k) =>
      row(own, output.label, data.metrics.map((m) => [number(image.values[m.name][k][state.mu])]), shown && k === state.output));
    const means = $("means").tBodies[0];
    means.replaceChildren();
    const rows = new Map();
    data.panels.forEach((panel, column) =>
      [...panel.curves, ...panel.lines].forEach((curve) => {
        if (!rows.has(curve.key)) rows.set(curve.key, { label: curve.label, cells: data.panels.map(() => ["–"]) });
        const [value, low, high] = [curve.value, curve.low, curve.high].map((v) => v[state.mu]);
        const interval = value !== null && low !== high ? `${number(low)} to ${number(high)}` : "";
        rows.get(curve.key).cells[column] = [number(value), interval];
      }));
    rows.forEach(({ label, cells }) => row(means, label, cells));
  }

  function legend() {
    const entries = new Map();
    data.panels.forEach((panel) => [...panel.curves, ...panel.lines].forEach((curve) => entries.set(curve.key, curve)));
    entries.forEach((curve) => {
      const item = $("legend").appendChild(document.createElement("li"));
      const svg = shape(item, "svg", { viewBox: "0 0 44 12", "aria-hidden": "true" });
      const style = `stroke: var(--${curve.key}); fill: var(--${curve.key})`;
      shape(svg, "line", { x1: 2, x2: 42, y1: 6, y2: 6, class: "curve", style, "stroke-dasharray": curve.dash });
      if (curve.mark) mark(svg, curve.mark, 22, 6, 3).setAttribute("style", style);
      item.append(curve.label);
    });
  }

  function update() {
    const image = data.images[state.image];
    $("level").textContent = `µ = ${data.muText[state.mu]} · ε = ${data.epsilon[state.mu]}`;
    $("noise").textContent = data.noise[state.mu] && ` · noise on a pixel ${data.noise[state.mu]} (black is −1, white 1)`;
    $("mu").value = state.mu;
    $("mu").setAttribute("aria-valuetext", level());
    $("shows").textContent = data.shows[state.mu];
    all(".sheet-head div").forEach((line) => [...line.children].forEach((cell, i) => cell.classList.toggle("current", i === state.mu)));
    fill(".level-name", level());
    fill(".image-name", image.name);
    $("sentences").replaceChildren(...data.sentences[state.mu].map((text) => Object.assign(document.createElement("li"), { textContent: text })));
    if (shown) pictures();
    tables();
    charts.forEach((chart) => chart.moveTo(state.mu));
    $("status").textContent = `${level()}: the best guess shows ${data.shows[state.mu]}. ${image.name}` + (shown ? `, ${data.outputs[state.output].label}: ${values(state.output)}.` : ".");
  }

  /* Of the sheets the chosen image's alone stays, and is the one that is printed. */
  function choose(image) {
    state.image = image;
    all("details.sheet").forEach((sheet, i) => { sheet.hidden = i !== image; sheet.open = true; });
    update();
  }

  function start() {
    legend();
    const moveTo = (i) => { state.mu = i; update(); };
    data.panels.forEach((panel) => charts.push(new Chart($("charts"), panel, data, moveTo)));
    $("mu").addEventListener("input", () => moveTo(Number($("mu").value)));
    $("picker").addEventListener("change", (event) => choose(Number(event.target.value)));
    if (shown) {
      $("gallery").addEventListener("change", (event) => { state.output = Number(event.target.value); update(); });
      $("wipe").addEventListener("input", wipe);
      const drag = (event) => {
        if (event.buttons !== 1 && event.type !== "pointerdown") return;
        const box = $("stack").getBoundingClientRect();
        $("wipe").value = Math.round((100 * (event.clientX - box.left)) / box.width);
        wipe();
      };
      $("stack").addEventListener("pointerdown", drag);
      $("stack").addEventListener("pointermove", drag);
    }
    /* A browser that goes back keeps what was chosen in the form. */
    state.mu = Number($("mu").value);
    const checked = (name) => Number((document.querySelector(`input[name=${name}]:checked`) || { value: name === "output" ? data.first : 0 }).value);
    state.output = checked("output");
    $("explorer").hidden = false;
    choose(checked("image"));
  }

  Promise.all(all("#picker img, .sheet img").map((image) => image.decode())).then(start);
})();
