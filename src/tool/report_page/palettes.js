// Colours that people with any kind of colour vision can tell apart: an even ramp for what has an order (viridis), and
// for what has none Paul Tol's "muted" set, whose darkest are lighter on a dark page.
import { isDark } from "./theme.js";

const ramp = ["#440154", "#482878", "#3e4a89", "#31688e", "#26838e", "#1f9e89", "#35b779", "#6ece58", "#b5de2b", "#fde725"];
const kinds = ["#332288", "#88ccee", "#44aa99", "#117733", "#999933", "#ddcc77", "#cc6677", "#882255", "#aa4499"];
const kindsOnDark = ["#8478d8", "#88ccee", "#44aa99", "#2f9e5b", "#a5a53d", "#ddcc77", "#cc6677", "#c0578f", "#b55fc0"];

const channels = (colour) => [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));

// Of the ramp, at 0 to 1.
export function shade(part) {
  const place = Math.min(Math.max(part, 0), 1) * (ramp.length - 1);
  const below = Math.min(Math.floor(place), ramp.length - 2);
  const [a, b] = [channels(ramp[below]), channels(ramp[below + 1])];
  return `rgb(${a.map((each, i) => Math.round(each + (b[i] - each) * (place - below))).join(",")})`;
}

// For cells of a table: little is near the page, much is far from it; with the text's colour.
export function cellColours(part) {
  const place = isDark() ? 0.1 + 0.9 * part : 1 - 0.95 * part;
  return { background: shade(place), text: place > 0.55 ? "#000" : "#fff" };
}

export const ordered = (number) => Array.from({ length: number }, (_, i) => shade(0.08 + (0.92 * i) / Math.max(1, number - 1)));

export function unordered(number) {
  const colours = isDark() ? kindsOnDark : kinds;
  return Array.from({ length: number }, (_, i) => (i === number - 1 ? "#a8a8a8" : colours[i % colours.length]));
}
