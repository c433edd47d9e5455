"use strict";
(function () {
  const candidates = JSON.parse(document.getElementById("structures").textContent);
  const holder = document.getElementById("viewer");
  const label = document.getElementById("viewer-label");
  const note = document.getElementById("map-note");
  const legend = document.getElementById("legend");
  const level = document.getElementById("level");
  const levelText = document.getElementById("level-text");
  const surface = document.getElementById("surface");
  const names = document.getElementById("names");
  const MOBILE = "#7a5195";
  const PATHS = "#e69f00";
  const LABEL = { fontSize: 13, fontColor: "black", backgroundColor: "white",
    backgroundOpacity: 0.75, inFront: true, alignment: "center" };
  let viewer = null;
  let model = null;
  let current = null;
  let grid = null;
  let shape = null;
  let nameLabels = [];

  function labelStyle(more) { return Object.assign({}, LABEL, more); }

  function colour(symbol) {
    if (symbol === holder.dataset.ion) { return MOBILE; }
    const known = $3Dmol.elementColors.Jmol[symbol];
    return known === undefined ? "#999999" : "#" + known.toString(16).padStart(6, "0");
  }

  // A cube file in Å (negative counts), of depth below the map's top, so that the surface turns
  // its outer side away from the paths.
  function cubeOf(map) {
    const bytes = atob(map.data);
    const lines = ["site energy", "depth, eV", "0 0 0 0"];
    map.vectors.forEach(function (vector, axis) {
      const count = map.shape[axis];
      const step = vector.map(function (x) { return x / (count - 1); });
      lines.push([-count].concat(step).join(" "));
    });
    const values = new Array(bytes.length);
    for (let i = 0; i < bytes.length; i += 1) {
      values[i] = (map.top - bytes.charCodeAt(i) * map.step).toFixed(4);
    }
    lines.push(values.join(" "));
    return lines.join("\n");
  }

  function placeSurface() {
    if (shape !== null) { viewer.removeShape(shape); shape = null; }
    const map = current.map;
    const energy = Number(level.value);
    levelText.textContent = energy.toFixed(2) + " eV";
    if (map && surface.checked) {
      if (grid === null) { grid = new $3Dmol.VolumeData(cubeOf(map), "cube"); }
      shape = viewer.addIsosurface(grid, {
        isoval: map.top - energy, color: PATHS, opacity: 0.75, smoothness: 2 });
      holder.setAttribute("data-surface", energy.toFixed(2));
    } else {
      holder.removeAttribute("data-surface");
    }
  }

  function placeNames() {
    nameLabels.forEach(function (each) { viewer.removeLabel(each); });
    nameLabels = [];
    if (names.checked) {
      for (const atom of model.selectedAtoms({})) {
        // The last argument keeps 3Dmol.js from drawing the scene anew for every label.
        nameLabels.push(viewer.addLabel(atom.elem, labelStyle({ position: atom }),
          undefined, true));
      }
    }
  }

  function fillLegend(symbols) {
    legend.textContent = "";
    function entry(fill, text) {
      const item = document.createElement("span");
      const dot = document.createElement("i");
      dot.style.background = fill;
      item.append(dot, text);
      legend.append(item);
    }
    symbols.forEach(function (symbol) { entry(colour(symbol), symbol); });
    if (current.map) { entry(PATHS, holder.dataset.name + " paths"); }
  }

  function show(id) {
    if (!candidates[id]) { return; }
    current = candidates[id];
    if (viewer === null) {
      viewer = $3Dmol.createViewer(holder, { backgroundColor: "white" });
    }
    viewer.clear();
    nameLabels = [];
    grid = null;
    shape = null;
    model = viewer.addModel(current.cif, "cif", {
      doAssembly: true, duplicateAssemblyAtoms: true, normalizeAssembly: true });
    viewer.setStyle({}, { sphere: { scale: 0.28, colorscheme: "Jmol" },
      stick: { radius: 0.1, colorscheme: "Jmol" } });
    viewer.setStyle({ elem: holder.dataset.ion }, { sphere: { scale: 0.35, color: MOBILE } });
    viewer.addUnitCell(model, { box: { color: "#444444" },
      alabel: "a", alabelstyle: labelStyle({}), blabel: "b", blabelstyle: labelStyle({}),
      clabel: "c", clabelstyle: labelStyle({}) });
    viewer.zoomTo();
    viewer.rotate(-75, "x");
    viewer.rotate(20, "y");
    label.textContent = current.label;
    note.textContent = current.note;
    holder.setAttribute("aria-label", "3-D view of the unit cell: " + current.label);
    level.disabled = surface.disabled = !current.map;
    if (current.map) {
      level.max = (current.map.top - 0.1).toFixed(2);
      // Slightly above the threshold, so that the necks that just close can be seen.
      level.value = String(current.map.level + 0.02);
    }
    fillLegend(current.elements);
    placeSurface();
    placeNames();
    viewer.render();
    holder.setAttribute("data-shown", id);
    holder.setAttribute("data-atoms", String(model.selectedAtoms({}).length));
    for (const row of document.querySelectorAll("tr[data-id]")) {
      const chosen = row.dataset.id === id;
      row.classList.toggle("chosen", chosen);
      const button = row.querySelector("button");
      if (button) {
        button.setAttribute("aria-pressed", String(chosen));
        button.textContent = chosen ? "shown" : "show";
      }
    }
  }

  function onClick(selector, action) {
    for (const button of document.querySelectorAll(selector)) {
      button.addEventListener("click", function () { action(button.dataset); });
    }
  }

  onClick("button[data-id]", function (data) {
    show(data.id);
    document.getElementById("structure").scrollIntoView({ block: "start" });
  });
  onClick("button[data-turn]", function (data) {
    viewer.rotate(data.turn[1] === "+" ? 15 : -15, data.turn[0]);
    viewer.render();
  });
  onClick("button[data-zoom]", function (data) {
    viewer.zoom(Number(data.zoom));
    viewer.render();
  });
  for (const [control, kind, place] of [[level, "input", placeSurface],
    [surface, "change", placeSurface], [names, "change", placeNames]]) {
    control.addEventListener(kind, function () {
      place();
      viewer.render();
    });
  }

  const first = Object.keys(candidates)[0];
  if (first) {
    show(first);
  } else {
    label.textContent = "No structure to show yet.";
    for (const control of document.querySelectorAll(".controls button, .controls input")) {
      control.disabled = true;
    }
  }
}());
