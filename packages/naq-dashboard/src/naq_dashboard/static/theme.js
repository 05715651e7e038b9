// Before the first paint, so that nobody sees the wrong colours flash.
(function () {
  try {
    var choice = localStorage.getItem("naq-theme");
    if (choice === "light" || choice === "dark") document.documentElement.dataset.theme = choice;
  } catch (error) { /* storage may be forbidden: the system's colours it is */ }
})();
