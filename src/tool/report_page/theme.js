// Light, dark, or what the system says.
import { byId } from "./dom.js";

const names = { system: "Theme: system", light: "Theme: light", dark: "Theme: dark" };
const next = { system: "light", light: "dark", dark: "system" };
const key = "cistern-report-theme";
const prefersDark = matchMedia("(prefers-color-scheme: dark)");
const listeners = [];
let theme = "system";

export const isDark = () => theme === "dark" || (theme === "system" && prefersDark.matches);

export const onThemeChange = (listener) => listeners.push(listener);

function apply() {
  document.documentElement.dataset.theme = isDark() ? "dark" : "light";
  byId("theme").textContent = names[theme];
  for (const each of listeners) each();
}

export function startTheme() {
  try {
    theme = localStorage.getItem(key) in names ? localStorage.getItem(key) : "system";
  } catch {
    // A page that was opened from a file may have no storage.
  }
  byId("theme").addEventListener("click", () => {
    theme = next[theme];
    try {
      localStorage.setItem(key, theme);
    } catch {
      // As above.
    }
    apply();
  });
  prefersDark.addEventListener("change", apply);
  apply();
}
