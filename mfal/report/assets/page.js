"use strict";
(function () {
  const candidates = JSON.parse(document.getElementById("structures").textContent);
  const holder = document.getElementById("viewer");
  const label = document.getElementById("viewer-label");
  let viewer = null;

  function show(id) {
    const candidate = candidates[id];
    if (!candidate) { return; }
    if (viewer === null) {
      viewer = $3Dmol.createViewer(holder, { backgroundColor: "white" });
    }
    viewer.clear();
    const model = viewer.addModel(candidate.cif, "cif", {
      doAssembly: true, duplicateAssemblyAtoms: true, normalizeAssembly: true });
    viewer.setStyle({}, { sphere: { scale: 0.28, colorscheme: "Jmol" },
      stick: { radius: 0.1, colorscheme: "Jmol" } });
    viewer.setStyle({ elem: "Li" }, { sphere: { scale: 0.35, color: "#7a5195" } });
    viewer.addUnitCell(model, { box: { color: "#444444" } });
    viewer.zoomTo();
    viewer.render();
    label.textContent = candidate.label;
    holder.setAttribute("data-shown", id);
    holder.setAttribute("data-atoms", String(model.selectedAtoms({}).length));
    for (const row of document.querySelectorAll("tr[data-id]")) {
      row.setAttribute("aria-selected", String(row.dataset.id === id));
    }
  }

  for (const button of document.querySelectorAll("button[data-id]")) {
    button.addEventListener("click", function () {
      show(button.dataset.id);
      holder.scrollIntoView({ block: "nearest" });
    });
  }
  const first = Object.keys(candidates)[0];
  if (first) { show(first); } else { label.textContent = "No structure to show yet."; }
}());
