// Before the first paint, so that the wrong colours do not flash.
(function () {
  try {
    var choice = localStorage.getItem("naq-theme");
    if (choice === "light" || choice === "dark") document.documentElement.dataset.theme = choice;
  } catch (error) { /* storage may be forbidden: the system's colours it is */ }
})();
