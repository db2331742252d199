"use strict";
// Two clocks: row (training step) and column (noise level) of the cells in the sprites.
(() => {
  const about = JSON.parse(document.getElementById("about").textContent);
  const rows = about.steps.length, columns = about.levels.length, [width, height] = about.cell;
  const get = (id) => document.getElementById(id);
  const view = get("view"), pen = view.getContext("2d"), map = get("map"), mark = get("mark");
  const clocks = { t: get("clock-t"), step: get("clock-step") };
  const plays = { t: get("play-t"), step: get("play-step"), both: get("play-both") };
  const line = document.querySelector("#loss-line");
  let row = rows - 1, column = columns - 1, show = "x", playing = "", timer = 0;

  // Points are drawn from their places (0 to 65534 across the plane), so that they are sharp at any size.
  const NOWHERE = 65535, plane = about.plane;
  const places = (text) => new Uint16Array(Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer);
  const points = plane && { x: places(plane.x), x0: places(plane.x0), behind: places(plane.behind) };
  const each = plane && points.x.length / (rows * columns); // numbers of a cell

  function dots(some, [colour, opacity]) {
    const side = view.width, radius = Math.max(1.5, side / 200);
    pen.fillStyle = colour;
    pen.globalAlpha = opacity;
    for (let i = 0; i < some.length; i += 2) {
      if (some[i] === NOWHERE) continue;
      pen.beginPath();
      pen.arc((some[i] / (NOWHERE - 1)) * side, (1 - some[i + 1] / (NOWHERE - 1)) * side, radius, 0, 2 * Math.PI);
      pen.fill();
    }
    pen.globalAlpha = 1;
  }

  function drawPoints() {
    const side = Math.round(view.clientWidth * (window.devicePixelRatio || 1));
    if (view.width !== side) view.width = view.height = side;
    const begin = (row * columns + column) * each, thin = Math.max(1, Math.round(side / 512));
    pen.fillStyle = plane.paper;
    pen.fillRect(0, 0, side, side);
    for (const k of [-2, -1, 1, 2, 0]) {
      const at = Math.round(((k / plane.range + 1) / 2) * side);
      pen.fillStyle = k ? plane.line : plane.axis;
      pen.fillRect(at, 0, thin, side);
      pen.fillRect(0, at, side, thin);
    }
    dots(points.behind, plane.data);
    dots(points[show].subarray(begin, begin + each), plane.dot);
  }

  function drawPictures() {
    const source = image();
    pen.clearRect(0, 0, width, height);
    if (source.complete && source.naturalWidth) {
      pen.drawImage(source, column * width, row * height, width, height, 0, 0, width, height);
    }
  }

  const image = () => get("cells-" + show);
  const words = { x: "x\u209c", x0: "x\u0302\u2080, predicted" };

  function draw() {
    if (plane) drawPoints();
    else drawPictures();
    const step = about.steps[row].toLocaleString("en"), t = about.levels[column];
    clocks.t.value = column;
    clocks.step.value = row;
    clocks.t.setAttribute("aria-valuetext", "t = " + t);
    clocks.step.setAttribute("aria-valuetext", "training step " + step);
    get("said-t").textContent = "t = " + t;
    get("said-step").textContent = "step " + step;
    get("said").textContent = "Training step " + step + ", t = " + t + ": " + words[show];
    view.setAttribute("aria-label", about.what + " at training step " + step + ", t = " + t + ": " + words[show]);
    mark.style.left = (100 * column) / columns + "%";
    mark.style.top = (100 * row) / rows + "%";
    mark.style.width = 100 / columns + "%";
    mark.style.height = 100 / rows + "%";
    if (line) {
      const [left, right, last] = about.axis;
      line.setAttribute("transform", "translate(" + (left + (about.steps[row] / last) * (right - left)) + " 0)");
    }
  }

  function go(newRow, newColumn) {
    row = Math.max(0, Math.min(rows - 1, newRow));
    column = Math.max(0, Math.min(columns - 1, newColumn));
    draw();
  }

  function play(what) {
    clearInterval(timer);
    playing = playing === what ? "" : what;
    for (const [name, button] of Object.entries(plays)) button.setAttribute("aria-pressed", String(name === playing));
    if (!playing) return;
    const atEnd = { t: column === columns - 1, step: row === rows - 1, both: row === rows - 1 && column === columns - 1 };
    if (atEnd[playing]) go(playing === "t" ? row : 0, playing === "step" ? column : 0);
    timer = setInterval(tick, 1000 / Number(get("speed").value));
  }

  function tick() {
    const loops = get("loop").checked;
    if (playing === "step") {
      if (row < rows - 1) go(row + 1, column);
      else if (loops) go(0, column);
      else play("step");
    } else if (column < columns - 1) go(row, column + 1);
    else if (playing === "both" && (row < rows - 1 || loops)) go((row + 1) % rows, 0);
    else if (playing === "t" && loops) go(row, 0);
    else play(playing);
  }

  clocks.t.addEventListener("input", () => go(row, Number(clocks.t.value)));
  clocks.step.addEventListener("input", () => go(Number(clocks.step.value), column));
  for (const [name, button] of Object.entries(plays)) button.addEventListener("click", () => play(name));
  get("speed").addEventListener("change", () => {
    const what = playing;
    if (what) { play(what); play(what); }
  });
  for (const choice of document.querySelectorAll("input[name=show]")) {
    choice.addEventListener("change", () => {
      show = choice.value;
      for (const other of ["x", "x0"]) {
        const cells = get("cells-" + other);
        if (cells) cells.hidden = other !== show;
      }
      draw();
    });
  }
  for (const source of document.querySelectorAll("#map img")) source.addEventListener("load", draw);

  const point = (event) => {
    const box = map.getBoundingClientRect();
    go(
      Math.floor(((event.clientY - box.top) / box.height) * rows),
      Math.floor(((event.clientX - box.left) / box.width) * columns),
    );
  };
  map.addEventListener("pointerdown", (event) => {
    map.setPointerCapture(event.pointerId);
    point(event);
  });
  map.addEventListener("pointermove", (event) => {
    if (event.buttons & 1) point(event);
  });

  document.addEventListener("keydown", (event) => {
    const on = event.target;
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    if (on.matches("select, input[type=radio]")) return; // the arrows choose there
    const inRoom = on === map || on === clocks.t || on === clocks.step;
    const moves = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
    const move = moves[event.key];
    // Elsewhere up and down still scroll the page.
    if (move && (inRoom || move[0] === 0)) {
      go(row + move[0], column + move[1]);
      event.preventDefault();
    } else if (inRoom && event.key === "Home") {
      go(row, 0);
      event.preventDefault();
    } else if (inRoom && event.key === "End") {
      go(row, columns - 1);
      event.preventDefault();
    } else if (event.key === " " && (inRoom || on === document.body)) {
      play(playing || "both");
      event.preventDefault();
    }
  });

  if (plane) addEventListener("resize", draw);
  draw();
})();
