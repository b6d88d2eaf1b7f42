// Elements from code. Texts are texts: what a trace has can't become markup.

export const byId = (id) => document.getElementById(id);

// element("td", { class: "number" }, "12"): attributes that are null are left out; functions listen.
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(name, value);
    else if (value !== null && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children.filter((each) => each !== null && each !== undefined));
  return made;
}

export function replace(parent, ...children) {
  parent.replaceChildren(...children);
}

// Buttons of which one is pressed; `chosen` is called with its value.
export function choices(name, chosen) {
  const buttons = [...document.querySelectorAll(`[data-${name}]`)];
  for (const button of buttons) {
    button.addEventListener("click", () => {
      for (const each of buttons) each.setAttribute("aria-pressed", String(each === button));
      chosen(button.dataset[name]);
    });
  }
}

// Lets the arrow keys go through the cells of a table; one cell at a time is where Tab goes.
export function navigable(table, visited) {
  const rows = [...table.querySelectorAll("tbody tr")].map((row) => [...row.querySelectorAll("[data-cell]")]);
  const steps = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
  let current = rows[0]?.[0];
  if (current) current.tabIndex = 0;
  rows.forEach((cells, row) =>
    cells.forEach((cell, column) => {
      if (cell !== current) cell.tabIndex = -1;
      cell.addEventListener("mouseenter", () => visited(cell));
      cell.addEventListener("focus", () => {
        current.tabIndex = -1;
        current = cell;
        cell.tabIndex = 0;
        visited(cell);
      });
      cell.addEventListener("keydown", (event) => {
        const step = steps[event.key];
        const next = step && rows[row + step[0]]?.[column + step[1]];
        if (!next) return;
        event.preventDefault();
        next.focus();
      });
    }),
  );
}
