// Sets the chosen colours before anything is drawn, so that the page does not flash. The rest is in main.js.
try {
  document.documentElement.dataset.theme = localStorage.getItem("omnireid-theme") || "auto";
} catch {
  document.documentElement.dataset.theme = "auto";
}
