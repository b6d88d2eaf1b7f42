// The span of time that is looked at, in bins of the live curves; all charts of it listen here.

const least = 4;

export class Span {
  constructor(bins) {
    this.bins = bins;
    this.from = 0;
    this.to = bins;
    this.listeners = [];
  }

  get isWhole() {
    return this.from === 0 && this.to === this.bins;
  }

  listen(listener) {
    this.listeners.push(listener);
  }

  set(from, to) {
    const width = Math.min(this.bins, Math.max(least, Math.round(to) - Math.round(from)));
    this.from = Math.min(Math.max(0, Math.round(from)), this.bins - width);
    this.to = this.from + width;
    for (const each of this.listeners) each(this);
  }

  reset() {
    this.set(0, this.bins);
  }

  // Moves by a part of its width.
  move(part) {
    const step = Math.round((this.to - this.from) * part) || Math.sign(part);
    this.set(this.from + step, this.to + step);
  }

  // Narrows or widens about its middle.
  scale(factor) {
    const middle = (this.from + this.to) / 2;
    const half = ((this.to - this.from) / 2) * factor;
    this.set(Math.max(0, middle - half), Math.min(this.bins, middle + half));
  }
}
