// A report: reads its data and fills its parts. Wedge.report.ready resolves when all is drawn.
"use strict";

var Wedge = window.Wedge || {};

Wedge.report = {};

Wedge.report.fillCharts = function (charts) {
  for (const cell of document.querySelectorAll(".report-chart")) {
    const { options, series } = charts[cell.dataset.section][Number(cell.dataset.place)];
    new Wedge.Chart(cell, options).show(series);
  }
};

Wedge.report.fillSpectra = async function (spectra, labels) {
  for (const cell of document.querySelectorAll(".report-spectrum")) {
    const place = Number(cell.dataset.volume);
    const { deflated, ...known } = spectra[place];
    const codes = new Uint8Array(await Wedge.unpack(deflated));
    new Wedge.Spectrum(cell, { label: labels[place] }).show({ ...known, codes });
  }
};

Wedge.report.copy = async function (text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch (error) {
    // Where pages from disk may not: by way of a selection.
    const area = Object.assign(document.createElement("textarea"), { value: text });
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    if (!done) throw error;
  }
};

Wedge.report.listenToCopy = function () {
  const told = document.getElementById("told");
  for (const button of document.querySelectorAll(".report-copy")) {
    button.addEventListener("click", async () => {
      let text = "Copied";
      try {
        await Wedge.report.copy(document.getElementById(button.dataset.copy).textContent);
      } catch (error) {
        text = "Copying is not allowed here: select the command";
      }
      button.textContent = text;
      told.textContent = text;
      window.setTimeout(() => (button.textContent = "Copy"), 2000);
      button.focus();
    });
  }
};

// On paper nothing can be unfolded.
Wedge.report.unfoldInPrint = function () {
  let opened = [];
  window.addEventListener("beforeprint", () => {
    opened = Array.from(document.querySelectorAll(".report-fold:not([open])"));
    for (const each of opened) each.open = true;
  });
  window.addEventListener("afterprint", () => {
    for (const each of opened) each.open = false;
  });
};

Wedge.report.start = async function () {
  const data = JSON.parse(document.getElementById("report-data").textContent);
  new Wedge.ThemeSwitch(document.getElementById("theme"));
  Wedge.report.listenToCopy();
  Wedge.report.unfoldInPrint();
  Wedge.report.fillCharts(data.charts);
  const previews = [];
  for (let place = 0; place < data.labels.length + (data.spread ? 1 : 0); place++) {
    const message = await Wedge.unpack(document.getElementById(`preview-${place}`).textContent);
    previews.push(Wedge.decodePreview(message));
  }
  const spread = data.spread ? previews.pop() : null;
  const pictures = new Wedge.ReportPictures(document.getElementById("controls"), data.labels);
  pictures.show(previews, spread);
  Wedge.report.pictures = pictures;
  await Wedge.report.fillSpectra(data.spectra, data.labels);
  const scene = [document.getElementById("scene-controls"), document.getElementById("scene-view")];
  Wedge.report.scene = new Wedge.ReportScene(...scene, data.labels, previews);
};

Wedge.report.ready = Wedge.report.start().catch((error) => {
  const problem = document.getElementById("problem");
  problem.hidden = false;
  problem.textContent = `This browser cannot draw the report's pictures (${error.message}); its tables are complete.`;
  throw error;
});
