// The switch between dark and light. It is remembered where the browser allows it; pages from disk may have no memory.
"use strict";

var Wedge = window.Wedge || {};

// What is chosen: "auto" (as the system), "light" or "dark".
Wedge.theme = function () {
  return document.documentElement.dataset.theme || "auto";
};

// Sets it, remembers it, and tells the page by a "wedge-theme" event on document: canvases have to be painted anew.
Wedge.setTheme = function (theme) {
  const chosen = theme === "dark" || theme === "light" ? theme : "auto";
  if (chosen === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = chosen;
  try {
    if (chosen === "auto") window.localStorage.removeItem("wedge-theme");
    else window.localStorage.setItem("wedge-theme", chosen);
  } catch (error) {
    // Without storage the choice lasts as long as the page.
  }
  for (const select of document.querySelectorAll(".theme-switch select")) select.value = chosen;
  document.dispatchEvent(new CustomEvent("wedge-theme", { detail: chosen }));
};

// A labelled choice in a container.
Wedge.ThemeSwitch = class {
  constructor(container) {
    const label = document.createElement("label");
    label.className = "theme-switch";
    label.append("Theme ");
    this.select = document.createElement("select");
    for (const [value, text] of [["auto", "as the system"], ["light", "light"], ["dark", "dark"]]) {
      this.select.append(new Option(text, value));
    }
    this.select.value = Wedge.theme();
    this.select.addEventListener("change", () => Wedge.setTheme(this.select.value));
    label.append(this.select);
    container.append(label);
  }
};

(function () {
  let remembered = null;
  try {
    remembered = window.localStorage.getItem("wedge-theme");
  } catch (error) {
    return;
  }
  if (remembered === "dark" || remembered === "light") document.documentElement.dataset.theme = remembered;
  const system = window.matchMedia("(prefers-color-scheme: dark)");
  system.addEventListener("change", () => document.dispatchEvent(new CustomEvent("wedge-theme", { detail: Wedge.theme() })));
})();
