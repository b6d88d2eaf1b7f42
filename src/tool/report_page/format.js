// Numbers as people read them.

const scaled = (value, units, step) => {
  let unit = 0;
  while (Math.abs(value) >= step && unit < units.length - 1) {
    value /= step;
    unit += 1;
  }
  const decimals = unit === 0 || Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : 2;
  return `${Number(value.toFixed(decimals))} ${units[unit]}`;
};

export const bytes = (value) => scaled(value, ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"], 1024);

export const count = (value) => Math.round(value).toLocaleString("en-US");

export const shortCount = (value) => scaled(value, ["", "k", "M", "G", "T"], 1000).trim();

export function time(nanoseconds) {
  if (nanoseconds < 60e9) return scaled(nanoseconds, ["ns", "µs", "ms", "s"], 1000);
  const seconds = Math.round(nanoseconds / 1e9);
  const parts = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
  return parts[0] > 0 ? `${parts[0]} h ${parts[1]} min` : `${parts[1]} min ${parts[2]} s`;
}

export function percent(part, whole) {
  if (!(whole > 0)) return "–";
  const value = (100 * part) / whole;
  if (value > 0 && value < 0.1) return "< 0.1 %";
  return `${value.toFixed(value < 10 || value > 99.9 ? 1 : 0).replace(/\.0$/, "")} %`;
}

// Rounded to what fits over a narrow column.
export const roughTime = (nanoseconds) => time(nanoseconds < 1000 ? nanoseconds : Number(nanoseconds.toPrecision(nanoseconds.toPrecision(3)[0] === "1" ? 2 : 1)));

// From a power of two to the next: the numbers whose binary form has so many digits.
export const powerRange = (power, format) => (power === 0 ? format(0) : `${format(2 ** (power - 1))} – ${format(2 ** power)}`);

// A function without its arguments and those of its template: for where there is little room.
export function shortName(name) {
  if (!name.includes("(") || name.startsWith("(")) return name;
  let text = "";
  let depth = 0;
  for (const each of name) {
    if (each === "(" && depth === 0 && text !== "") break;
    if (each === "<") depth += 1;
    if (depth === 0) text += each;
    if (each === ">" && depth > 0) depth -= 1;
  }
  return text.includes("operator") || text === "" ? name : text.slice(text.lastIndexOf(" ") + 1);
}
