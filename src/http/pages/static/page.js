// What pages do on top of plain HTML. Nothing here is needed: each part only makes something easier.

// A page with problems begins at their list.
document.querySelector("[data-focus]")?.focus();

// Shows and hides what is typed into a password field.
for (const button of document.querySelectorAll("[data-show]")) {
  const input = document.getElementById(button.dataset.show);
  const texts = [button.textContent, button.dataset.hideText];
  button.hidden = false;
  const show = (shown) => {
    input.type = shown ? "text" : "password";
    button.setAttribute("aria-pressed", shown);
    button.textContent = texts[shown ? 1 : 0];
  };
  button.addEventListener("click", () => {
    show(input.type === "password");
    input.focus();
  });
  input.form.addEventListener("submit", () => show(false));
}

// A form is sent once, and says that it is under way.
for (const form of document.querySelectorAll("form[method=post]")) {
  if (form.querySelector("[data-download]")) continue;
  form.addEventListener("submit", (event) => {
    if (form.dataset.sent) {
      event.preventDefault();
      return;
    }
    form.dataset.sent = "yes";
    event.submitter?.setAttribute("aria-busy", "true");
  });
}
// An answer to another site is sent at once.
document.querySelector("[data-send]")?.requestSubmit();

// The page may come back from the browser's cache with the form as it was left.
addEventListener("pageshow", () => {
  for (const form of document.querySelectorAll("form[data-sent]")) {
    delete form.dataset.sent;
    form.querySelector("[aria-busy]")?.removeAttribute("aria-busy");
  }
});

// Shows the chosen photo before it is uploaded.
for (const input of document.querySelectorAll("[data-preview]")) {
  input.addEventListener("change", () => {
    const [file] = input.files;
    const old = input.closest("section").querySelector(".avatar");
    if (!file || !old) return;
    const image = document.createElement("img");
    image.className = old.className;
    image.alt = "";
    image.src = URL.createObjectURL(file);
    image.onload = () => URL.revokeObjectURL(image.src);
    old.replaceWith(image);
  });
}

// Selects all rows of a table at once.
document.documentElement.classList.add("has-script");
document.addEventListener("change", ({ target }) => {
  const start = target.dataset?.selectAll;
  if (!start) return;
  for (const box of target.form.querySelectorAll(`input[name^="${start}"]`)) box.checked = target.checked;
});

// Searches while somebody types; without script, Enter does.
for (const form of document.querySelectorAll("[data-search]")) {
  let timer;
  let latest = 0;
  const search = async () => {
    const turn = ++latest;
    const url = `${form.action}?${new URLSearchParams(new FormData(form))}`;
    const answer = await fetch(url, { headers: { Accept: "text/html" } }).catch(() => null);
    if (!answer || answer.redirected) {
      location.assign(url);
      return;
    }
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (turn !== latest) return;
    for (const id of form.dataset.search.split(" ")) {
      const [old, found] = [document.getElementById(id), page.getElementById(id)];
      // What is read out has to stay the same element.
      if (old.role === "status") old.textContent = found.textContent;
      else old.replaceWith(found);
    }
    history.replaceState(null, "", url);
  };
  form.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(search, 150);
  });
}

// Copies and prints what is shown once.
for (const button of document.querySelectorAll("[data-copy]")) {
  if (!navigator.clipboard) continue;
  button.hidden = false;
  button.addEventListener("click", async () => {
    const lines = [...document.getElementById(button.dataset.copy).children];
    await navigator.clipboard.writeText(lines.map((line) => line.textContent).join("\n"));
    button.textContent = button.dataset.doneText;
  });
}
for (const button of document.querySelectorAll("[data-print]")) {
  button.hidden = false;
  button.addEventListener("click", () => print());
}
