// Opens and closes dialogs and menus, asks before a form that says so is sent, and copies secrets.
"use strict";

(() => {
  function open(dialog) {
    dialog.dispatchEvent(new CustomEvent("opening", { bubbles: true }));
    dialog.showModal();
  }

  // A form with data-confirm is sent once its question was answered with yes.
  const confirm = document.getElementById("confirm");
  let asking = null;

  function ask(form, submitter) {
    asking = { form, submitter };
    confirm.querySelector("h2").textContent = form.dataset.confirm;
    confirm.querySelector("[data-consequence]").textContent = form.dataset.consequence ?? "";
    confirm.querySelector("[value=yes]").textContent = submitter?.textContent.trim() || "Yes";
    confirm.returnValue = "no";
    open(confirm);
  }

  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (!form.matches("[data-confirm]") || asking?.agreed) return;
    event.preventDefault();
    ask(form, event.submitter);
  });
  confirm?.addEventListener("close", () => {
    if (confirm.returnValue === "yes") {
      asking.agreed = true;
      asking.form.requestSubmit(asking.submitter);
    }
    asking = null;
  });

  async function copy(button) {
    const said = button.textContent;
    try {
      await navigator.clipboard.writeText(document.getElementById(button.dataset.copies).textContent.trim());
      button.textContent = "Copied";
    } catch {
      button.textContent = "Select it and copy";
    }
    setTimeout(() => (button.textContent = said), 2000);
  }

  document.addEventListener("click", (event) => {
    const opener = event.target.closest("[data-opens]");
    if (opener) open(document.getElementById(opener.dataset.opens));
    if (event.target.closest("[data-closes]")) event.target.closest("dialog")?.close();
    if (event.target.matches("dialog")) event.target.close(); // on the backdrop
    if (event.target.closest("[data-back]")) history.back();
    const copier = event.target.closest("[data-copies]");
    if (copier) copy(copier);
    for (const menu of document.querySelectorAll("details.menu[open]")) {
      if (!menu.contains(event.target)) menu.open = false;
    }
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    for (const menu of document.querySelectorAll("details.menu[open]")) {
      menu.open = false;
      menu.querySelector("summary").focus();
    }
  });
})();
